package main

import (
	"context"
	"fmt"
	gofs "io/fs"
	"unicode/utf8"

	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"
)

type listing struct {
	Dir     string   `json:"dir"`
	Exclude patterns `json:"exclude"`
	Include patterns `json:"include"`
	Follow  patterns `json:"follow"`
}

type entry struct {
	Path        string            `json:"path"`
	RawPath     []byte            `json:"rawPath,omitempty"`
	Mode        uint32            `json:"mode,omitempty"`
	UID         uint32            `json:"uid,omitempty"`
	GID         uint32            `json:"gid,omitempty"`
	Size        int64             `json:"size,omitempty"`
	ModTime     int64             `json:"modTime,omitempty"`
	Linkname    string            `json:"linkname,omitempty"`
	RawLinkname []byte            `json:"rawLinkname,omitempty"`
	Devmajor    int64             `json:"devmajor,omitempty"`
	Devminor    int64             `json:"devminor,omitempty"`
	Xattrs      map[string][]byte `json:"xattrs,omitempty"`
}

// walk visits what BuildKit's client sends. The layers are those of prepareMounts and prepareSyncedFiles in
// client/solve.go, of handle in session/filesync/filesync.go, and of fsutil.Send.
func (l listing) walk(ctx context.Context, visit func(entry) error) error {
	directory, err := fsutil.NewFS(l.Dir)
	if err != nil {
		return err
	}
	owned, err := fsutil.NewFilterFS(directory, &fsutil.FilterOpt{Map: resetOwner})
	if err != nil {
		return err
	}
	filtered, err := fsutil.NewFilterFS(owned, &fsutil.FilterOpt{
		ExcludePatterns: sent(l.Exclude),
		IncludePatterns: sent(l.Include),
		FollowPaths:     sent(l.Follow),
	})
	if err != nil {
		return err
	}
	return fsutil.WithHardlinkReset(filtered).Walk(ctx, "/", func(path string, e gofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		stat, ok := info.Sys().(*types.Stat)
		if !ok {
			return fmt.Errorf("%s has no stat", path)
		}
		return visit(newEntry(stat))
	})
}

// resetOwner is resetUIDAndGID of client/solve.go.
func resetOwner(_ string, stat *types.Stat) fsutil.MapResult {
	stat.Uid, stat.Gid = 0, 0
	return fsutil.MapResultKeep
}

// sent returns what arrives of a list that was sent as gRPC metadata: an empty one is not there at all.
func sent(list patterns) []string {
	if len(list) == 0 {
		return nil
	}
	return list
}

func newEntry(stat *types.Stat) entry {
	return entry{
		Path: stat.Path, RawPath: raw(stat.Path), Mode: stat.Mode, UID: stat.Uid, GID: stat.Gid, Size: stat.Size,
		ModTime: stat.ModTime, Linkname: stat.Linkname, RawLinkname: raw(stat.Linkname),
		Devmajor: stat.Devmajor, Devminor: stat.Devminor, Xattrs: stat.Xattrs,
	}
}

func raw(text string) []byte {
	if utf8.ValidString(text) {
		return nil
	}
	return []byte(text)
}
