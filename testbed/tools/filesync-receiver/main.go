// The filesync-receiver is both ends of BuildKit's file sync, made of the library and the options that
// BuildKit 0.26.3 uses, so that garden-build's tests can compare.
//
//	filesync-receiver -receive DIR [-differ metadata|none|content] [-merge] [-own] [-changes FILE]
//	                  [-metadata-only] [-metadata-except PATTERN]...
//
// receives a tree into the existing directory DIR, as the daemon does with a local source. Standard input
// and output carry fsutil.types.Packet messages, each after its length as four bytes, big-endian. As
// in a gRPC stream, the sender ends its side (standard input) after its FIN, or after an error. The
// exit status is 0 when the daemon would have had its tree; otherwise 1, with the reason on standard error.
// Leave out -differ for what the daemon does when the client does not say (metadata).
// -own gives everything to the user who runs this, as BuildKit's client does with what it receives: only
// root may give files to others. -merge keeps what DIR has and the sender has not. -metadata-only transfers
// the contents of paths that match -metadata-except only, as llb.MetadataOnlyTransfer.
// FILE gets one JSON object for each change of which the daemon's cache is told, in the order of their
// arrival: {"kind": "add"|"modify"|"delete", "path", "digest"}. The digest is what the cache key of a COPY
// is made of; a delete has none.
//
//	filesync-receiver -list DIR [-exclude PATTERN]... [-include PATTERN]... [-follow PATH]...
//
// prints what BuildKit's client would send of DIR: in this order, one JSON object a line,
// {"path", "mode", "uid", "gid", "size", "modTime", "linkname", "devmajor", "devminor", "xattrs"}. The mode
// is Go's os.FileMode, modTime is in nanoseconds, the values of xattrs are in base64. Fields that are
// zero, as in the packet, are left out. Where a path or linkname is not UTF-8, "rawPath" or
// "rawLinkname" has it in base64.
//
//	filesync-receiver -serve
//
// does the same for many: for each JSON request {"dir", "exclude": [], "include": [], "follow": []} on
// standard input it prints one line {"entries": [...], "error"}.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/tonistiigi/fsutil"
)

// patterns is a flag that may be given several times.
type patterns []string

func (p *patterns) String() string { return fmt.Sprint(*p) }

func (p *patterns) Set(pattern string) error {
	*p = append(*p, pattern)
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var reception reception
	var listing listing
	flag.StringVar(&reception.dest, "receive", "", "receive into `DIR`")
	differ := flag.String("differ", "metadata", "compare with what is there by metadata, none or content")
	flag.BoolVar(&reception.merge, "merge", false, "keep what the sender does not have")
	flag.BoolVar(&reception.own, "own", false, "own everything that is received")
	flag.StringVar(&reception.changes, "changes", "", "write changes to `FILE`")
	flag.BoolVar(&reception.metadataOnly, "metadata-only", false, "do not transfer contents")
	flag.Var(&reception.exceptions, "metadata-except", "transfer contents that match `PATTERN`")
	flag.StringVar(&listing.Dir, "list", "", "list what would be sent of `DIR`")
	flag.Var(&listing.Exclude, "exclude", "leave out what matches `PATTERN`")
	flag.Var(&listing.Include, "include", "send only what matches `PATTERN`")
	flag.Var(&listing.Follow, "follow", "include `PATH` and where its links lead")
	serve := flag.Bool("serve", false, "answer listings from standard input")
	flag.Parse()

	switch {
	case flag.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	case reception.dest != "":
		var known bool
		reception.differ, known = differs[*differ]
		if !known {
			return fmt.Errorf("unknown -differ %q", *differ)
		}
		return reception.run(context.Background())
	case listing.Dir != "":
		output := bufio.NewWriter(os.Stdout)
		lines := newEncoder(output)
		err := listing.walk(context.Background(), func(e entry) error { return lines.Encode(e) })
		return errors.Join(err, output.Flush())
	case *serve:
		return answerListings()
	}
	return errors.New("one of -receive, -list and -serve is needed")
}

var differs = map[string]fsutil.DiffType{
	"metadata": fsutil.DiffMetadata,
	"none":     fsutil.DiffNone,
	"content":  fsutil.DiffContent,
}

type answer struct {
	Entries []entry `json:"entries"`
	Error   string  `json:"error,omitempty"`
}

func answerListings() error {
	requests := json.NewDecoder(bufio.NewReader(os.Stdin))
	answers := newEncoder(os.Stdout)
	for {
		var l listing
		if err := requests.Decode(&l); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		a := answer{Entries: []entry{}}
		err := l.walk(context.Background(), func(e entry) error {
			a.Entries = append(a.Entries, e)
			return nil
		})
		if err != nil {
			a.Error = err.Error()
		}
		if err := answers.Encode(a); err != nil {
			return err
		}
	}
}

func newEncoder(output io.Writer) *json.Encoder {
	encoder := json.NewEncoder(output)
	encoder.SetEscapeHTML(false)
	return encoder
}
