package main

import (
	"archive/tar"
	"crypto/sha256"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tonistiigi/fsutil/types"
)

// contentHasher is NewFromStat of BuildKit's cache/contenthash, whose package cannot be imported without half
// of BuildKit. What it hashes of a file's metadata, and that it changes the stat, is part of the receiver.
func contentHasher(stat *types.Stat) (hash.Hash, error) {
	// archive/tar refuses these.
	stat.Mode &^= uint32(os.ModeSocket | os.ModeIrregular)
	header, err := tar.FileInfoHeader(statInfo{stat}, stat.Linkname)
	if err != nil {
		return nil, err
	}
	header.Name = ""
	header.Devmajor, header.Devminor = stat.Devmajor, stat.Devminor
	header.Uid, header.Gid = int(stat.Uid), int(stat.Gid)
	h := sha256.New()
	writeTarsum(h, header, stat.Xattrs)
	return h, nil
}

// writeTarsum is WriteV1TarsumHeaders of the same package.
func writeTarsum(w io.Writer, h *tar.Header, xattrs map[string][]byte) {
	fields := []string{
		"name", h.Name,
		"mode", strconv.FormatInt(h.Mode, 10),
		"uid", strconv.Itoa(h.Uid),
		"gid", strconv.Itoa(h.Gid),
		"size", strconv.FormatInt(h.Size, 10),
		"typeflag", string([]byte{h.Typeflag}),
		"linkname", h.Linkname,
		"uname", h.Uname,
		"gname", h.Gname,
		"devmajor", strconv.FormatInt(h.Devmajor, 10),
		"devminor", strconv.FormatInt(h.Devminor, 10),
	}
	var keys []string
	for key := range xattrs {
		hidden := strings.HasPrefix(key, "security.") || strings.HasPrefix(key, "system.")
		if key == "security.capability" || !hidden {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		fields = append(fields, key, string(xattrs[key]))
	}
	for _, field := range fields {
		io.WriteString(w, field)
	}
}

type statInfo struct{ *types.Stat }

func (s statInfo) Name() string       { return filepath.Base(s.Path) }
func (s statInfo) Size() int64        { return s.Stat.Size }
func (s statInfo) Mode() os.FileMode  { return os.FileMode(s.Stat.Mode) }
func (s statInfo) ModTime() time.Time { return time.Unix(s.Stat.ModTime/1e9, s.Stat.ModTime%1e9) }
func (s statInfo) IsDir() bool        { return s.Mode().IsDir() }
func (s statInfo) Sys() any           { return s.Stat }
