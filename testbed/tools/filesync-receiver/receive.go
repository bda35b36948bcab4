package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/moby/patternmatcher"
	"github.com/opencontainers/go-digest"
	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"
)

// maxMessage is the daemon's limit for what it receives: containerd's defaults.DefaultMaxRecvMsgSize, which
// BuildKit sets in session/grpc.go.
const maxMessage = 16 << 20

type reception struct {
	dest         string
	differ       fsutil.DiffType
	merge        bool
	own          bool
	changes      string
	metadataOnly bool
	exceptions   patterns
}

// run does what BuildKit does in source/local/source.go and session/filesync/diffcopy.go.
func (r reception) run(ctx context.Context) (failed error) {
	opt := fsutil.ReceiveOpt{
		ContentHasher: contentHasher,
		NotifyHashed:  func(fsutil.ChangeKind, string, os.FileInfo, error) error { return nil },
		ProgressCb:    func(int, bool) {},
		Differ:        r.differ,
		Merge:         r.merge,
	}
	if r.changes != "" {
		file, err := os.Create(r.changes)
		if err != nil {
			return err
		}
		output := bufio.NewWriter(file)
		defer func() { failed = errors.Join(failed, output.Flush(), file.Close()) }()
		opt.NotifyHashed = logChanges(output)
	}
	if r.own {
		uid, gid := uint32(os.Getuid()), uint32(os.Getgid())
		opt.Filter = func(_ string, stat *types.Stat) bool {
			stat.Uid, stat.Gid = uid, gid
			return true
		}
	}
	if r.metadataOnly {
		opt.MetadataOnly = func(string, *types.Stat) bool { return false }
		if len(r.exceptions) > 0 {
			matcher, err := patternmatcher.New(r.exceptions)
			if err != nil {
				return err
			}
			opt.MetadataOnly = func(path string, _ *types.Stat) bool {
				matches, err := matcher.MatchesOrParentMatches(path)
				return err == nil && matches
			}
		}
	}
	conn := &stream{ctx: ctx, input: bufio.NewReaderSize(os.Stdin, 1<<16), output: os.Stdout}
	return fsutil.Receive(ctx, conn, r.dest, opt)
}

type change struct {
	Kind   string        `json:"kind"`
	Path   string        `json:"path"`
	Digest digest.Digest `json:"digest,omitempty"`
}

func logChanges(output io.Writer) fsutil.ChangeFunc {
	lines := newEncoder(output)
	// Files are written, and so reported, in parallel.
	var mu sync.Mutex
	return func(kind fsutil.ChangeKind, path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		c := change{Kind: kind.String(), Path: path}
		if kind != fsutil.ChangeKindDelete {
			// The daemon's cache, in cache/contenthash, refuses what has neither.
			hashed, ok := info.(interface{ Digest() digest.Digest })
			if _, isStat := info.Sys().(*types.Stat); !ok || !isStat {
				return fmt.Errorf("a change of %s without its digest or stat", path)
			}
			c.Digest = hashed.Digest()
		}
		mu.Lock()
		defer mu.Unlock()
		return lines.Encode(c)
	}
}

// stream carries packets as a gRPC stream of BuildKit does, with a simpler framing.
type stream struct {
	ctx    context.Context
	input  io.Reader
	output io.Writer
}

var _ fsutil.Stream = &stream{}

func (s *stream) Context() context.Context { return s.ctx }

// SendMsg is not called twice at a time: fsutil sees to that.
func (s *stream) SendMsg(message any) error {
	packet, ok := message.(*types.Packet)
	if !ok {
		return fmt.Errorf("message is %T, not a packet", message)
	}
	encoded, err := packet.MarshalVT()
	if err != nil {
		return err
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(encoded)), uint32(len(encoded)))
	_, err = s.output.Write(append(frame, encoded...))
	return err
}

// RecvMsg decodes with the code that BuildKit's codec (util/grpcutil/encoding/proto) uses. Like that one, it
// does not reset the message.
func (s *stream) RecvMsg(message any) error {
	packet, ok := message.(*types.Packet)
	if !ok {
		return fmt.Errorf("message is %T, not a packet", message)
	}
	var length [4]byte
	if _, err := io.ReadFull(s.input, length[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(length[:])
	if size > maxMessage {
		return fmt.Errorf("received message larger than max (%d vs. %d)", size, maxMessage)
	}
	encoded := make([]byte, size)
	if _, err := io.ReadFull(s.input, encoded); err != nil {
		if err == io.EOF {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	return packet.UnmarshalVT(encoded)
}
