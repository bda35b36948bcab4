// The oracle answers what BuildKit and the kaniko executor would do with a build context, using
// their own libraries, so that garden-build's tests can compare.
//
//	oracle filter             reads JSON lines {patterns_text, paths: [{path, kind}]} and prints for each
//	                          the parsed patterns, those that are invalid, and the paths that are kept
//	oracle walk               reads JSON lines {patterns_text, root} and does the same with a real directory
//	oracle time-walk ROOT     walks a real directory, and prints how long that takes
//	oracle time-filter N      reads one question as "filter" does, answers it N times, and prints how long that takes
//	oracle untar              reads a gzipped tar stream as the executor does, and prints its entries
//	oracle tar                the same for a stream that is not compressed
//	oracle damage ENTRY LIMIT reads a gzipped tar stream, cuts it everywhere, flips every bit of its first
//	                          LIMIT bytes, and prints how many of the damaged streams yield ENTRY, and for
//	                          how many of these anything before ENTRY is not what it was
//
// JSON holds text only: of a path, a name or a link that is not UTF-8, it has U+FFFD for each byte that is not,
// and "raw", "raw_name" or "raw_link" has the bytes in hexadecimal.
package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	gofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "filter":
		return answerLines(func(q question) (fsutil.FS, error) { return newTree(q.Paths), nil })
	case len(args) == 1 && args[0] == "walk":
		return answerLines(func(q question) (fsutil.FS, error) { return fsutil.NewFS(q.Root) })
	case len(args) == 2 && args[0] == "time-walk":
		return timeWalk(args[1])
	case len(args) == 2 && args[0] == "time-filter":
		times, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		return timeFilter(times)
	case len(args) == 1 && args[0] == "untar":
		return printEntries(os.Stdin, true)
	case len(args) == 1 && args[0] == "tar":
		return printEntries(os.Stdin, false)
	case len(args) == 3 && args[0] == "damage":
		limit, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		return damage(args[1], limit)
	}
	return errors.New("usage: oracle filter | walk | time-walk ROOT | time-filter N | untar | tar | damage ENTRY LIMIT")
}

type question struct {
	PatternsText string `json:"patterns_text"`
	Paths        []node `json:"paths"`
	Root         string `json:"root"`
}

type node struct {
	Path string `json:"path"`
	Kind string `json:"kind"`
}

type answer struct {
	Patterns []string `json:"patterns"`
	Invalid  []string `json:"invalid"`
	Kept     []string `json:"kept"`
	Raw      []string `json:"raw,omitempty"`
	Error    string   `json:"error"`
}

// raw returns text that is not UTF-8 in hexadecimal, and nothing for other text.
func raw(text string) string {
	if utf8.ValidString(text) {
		return ""
	}
	return hex.EncodeToString([]byte(text))
}

func answerLines(open func(question) (fsutil.FS, error)) error {
	lines := json.NewDecoder(bufio.NewReader(os.Stdin))
	output := bufio.NewWriter(os.Stdout)
	defer output.Flush()
	answers := json.NewEncoder(output)
	answers.SetEscapeHTML(false)
	for {
		var q question
		if err := lines.Decode(&q); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		var a answer
		if err := a.fill(q, open); err != nil {
			a.Error = err.Error()
		}
		if err := answers.Encode(a); err != nil {
			return err
		}
	}
}

func (a *answer) fill(q question, open func(question) (fsutil.FS, error)) error {
	patterns, err := ignorefile.ReadAll(strings.NewReader(q.PatternsText))
	if err != nil {
		return err
	}
	a.Patterns = patterns
	for _, p := range patterns {
		if !valid(p) {
			a.Invalid = append(a.Invalid, p)
		}
	}
	source, err := open(q)
	if err != nil {
		return err
	}
	filtered, err := fsutil.NewFilterFS(source, &fsutil.FilterOpt{ExcludePatterns: patterns})
	if err != nil {
		return err
	}
	return filtered.Walk(context.Background(), "/", func(path string, _ gofs.DirEntry, err error) error {
		a.Kept = append(a.Kept, path)
		if bytes := raw(path); bytes != "" {
			a.Raw = append(a.Raw, bytes)
		}
		return err
	})
}

type duration struct {
	Seconds float64 `json:"seconds"`
	Count   int     `json:"count"`
}

func timeWalk(root string) error {
	text, err := os.ReadFile(filepath.Join(root, ".dockerignore"))
	if err != nil && !errors.Is(err, gofs.ErrNotExist) {
		return err
	}
	source, err := fsutil.NewFS(root)
	if err != nil {
		return err
	}
	return timeWalks(source, string(text), 1)
}

func timeFilter(times int) error {
	var q question
	if err := json.NewDecoder(bufio.NewReader(os.Stdin)).Decode(&q); err != nil {
		return err
	}
	return timeWalks(newTree(q.Paths), q.PatternsText, times)
}

func timeWalks(source fsutil.FS, text string, times int) error {
	patterns, err := ignorefile.ReadAll(strings.NewReader(text))
	if err != nil {
		return err
	}
	start := time.Now()
	var d duration
	for range times {
		filtered, err := fsutil.NewFilterFS(source, &fsutil.FilterOpt{ExcludePatterns: patterns})
		if err != nil {
			return err
		}
		d.Count = 0
		if err := filtered.Walk(context.Background(), "/", func(_ string, _ gofs.DirEntry, err error) error {
			d.Count++
			return err
		}); err != nil {
			return err
		}
	}
	d.Seconds = time.Since(start).Seconds()
	return json.NewEncoder(os.Stdout).Encode(d)
}

// valid reports whether a pattern can be used, although BuildKit may never come to compile it.
func valid(pattern string) bool {
	// A pattern that includes is only compiled when something before it excludes, and the other way round.
	for _, before := range [][]string{nil, {"**"}} {
		m, err := patternmatcher.New(append(before, pattern))
		if err != nil {
			return false
		}
		if _, err := m.MatchesOrParentMatches("x"); err != nil {
			return false
		}
	}
	return true
}

// tree is a file system that exists in memory only.
type tree struct {
	nodes    map[string]*types.Stat
	children map[string][]string
}

func newTree(nodes []node) *tree {
	t := &tree{nodes: map[string]*types.Stat{}, children: map[string][]string{}}
	for _, n := range nodes {
		mode := gofs.FileMode(0o644)
		if n.Kind == "directory" {
			mode = gofs.ModeDir | 0o755
		}
		t.nodes[n.Path] = &types.Stat{Path: n.Path, Mode: uint32(mode)}
		parent := filepath.Dir(n.Path)
		t.children[parent] = append(t.children[parent], n.Path)
	}
	for _, children := range t.children {
		slices.Sort(children)
	}
	return t
}

func (t *tree) Walk(_ context.Context, _ string, fn gofs.WalkDirFunc) error {
	err := t.walk(".", fn)
	if err == filepath.SkipDir || err == filepath.SkipAll {
		return nil
	}
	return err
}

func (t *tree) walk(dir string, fn gofs.WalkDirFunc) error {
	for _, path := range t.children[dir] {
		stat := t.nodes[path]
		err := fn(path, &fsutil.DirEntryInfo{Stat: stat}, nil)
		isDir := gofs.FileMode(stat.Mode).IsDir()
		if err == filepath.SkipDir && isDir {
			continue
		}
		if err == filepath.SkipDir {
			return nil
		}
		if err != nil {
			return err
		}
		if isDir {
			if err := t.walk(path, fn); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tree) Open(path string) (io.ReadCloser, error) {
	return nil, &os.PathError{Op: "open", Path: path, Err: os.ErrNotExist}
}

type entry struct {
	Name    string `json:"name"`
	RawName string `json:"raw_name,omitempty"`
	Type    string `json:"type"`
	Mode    int64  `json:"mode"`
	Size    int64  `json:"size"`
	SHA256  string `json:"sha256"`
	Link    string `json:"link"`
	RawLink string `json:"raw_link,omitempty"`
	UID     int    `json:"uid"`
	GID     int    `json:"gid"`
	Time    int64  `json:"time"`
}

// read hands each entry to visit: its header as soon as it is there, and all of it when it has been read.
func read(stream io.Reader, compressed bool, header func(string), whole func(entry)) error {
	if compressed {
		decompressed, err := gzip.NewReader(stream)
		if err != nil {
			return err
		}
		stream = decompressed
	}
	archive := tar.NewReader(stream)
	for {
		h, err := archive.Next()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		header(h.Name)
		hash := sha256.New()
		if _, err := io.Copy(hash, archive); err != nil {
			return err
		}
		whole(entry{
			Name: h.Name, RawName: raw(h.Name), Type: string(h.Typeflag), Mode: h.Mode, Size: h.Size,
			Link: h.Linkname, RawLink: raw(h.Linkname), SHA256: hex.EncodeToString(hash.Sum(nil)),
			UID: h.Uid, GID: h.Gid, Time: h.ModTime.Unix(),
		})
	}
}

func printEntries(stream io.Reader, compressed bool) error {
	answers := json.NewEncoder(os.Stdout)
	answers.SetEscapeHTML(false)
	var failed error
	err := read(stream, compressed, func(string) {}, func(e entry) {
		failed = errors.Join(failed, answers.Encode(e))
	})
	return errors.Join(err, failed)
}

type damageReport struct {
	// Streams that were tried.
	Tried int `json:"tried"`
	// Those that yielded the entry, which is harmless if what precedes it is intact.
	Yielded int `json:"yielded"`
	// Those that yielded the entry after something that is not what it was.
	Fooled int `json:"fooled"`
}

func damage(name string, limit int) error {
	stream, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	intact, yielded, err := before(stream, name)
	if err != nil || !yielded {
		return fmt.Errorf("the undamaged stream does not yield %q: %w", name, err)
	}
	var report damageReport
	try := func(damaged []byte) {
		found, yielded, _ := before(damaged, name)
		report.Tried++
		if yielded {
			report.Yielded++
			if !slices.Equal(found, intact) {
				report.Fooled++
			}
		}
	}
	for end := range stream {
		try(stream[:end])
	}
	for bit := range 8 * min(limit, len(stream)) {
		stream[bit/8] ^= 1 << (bit % 8)
		try(stream)
		stream[bit/8] ^= 1 << (bit % 8)
	}
	return json.NewEncoder(os.Stdout).Encode(report)
}

// before returns what precedes the entry called name, and whether that entry was found.
func before(stream []byte, name string) (found []entry, yielded bool, err error) {
	err = read(bytes.NewReader(stream), true,
		func(n string) { yielded = yielded || n == name },
		func(e entry) {
			if !yielded {
				found = append(found, e)
			}
		})
	return found, yielded, err
}
