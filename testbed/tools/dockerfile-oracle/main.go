// The oracle answers which paths of the build context BuildKit's Dockerfile frontend asks for, so that
// garden-build's tests can compare.
//
// It reads JSON lines {dockerfile, target, args, platform, env} and prints for each {paths}, where null stands
// for the whole context, or {error}. Every image is there, and has the environment `env` and no triggers.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/appcontext"
	digest "github.com/opencontainers/go-digest"
)

type request struct {
	Dockerfile string            `json:"dockerfile"`
	Target     string            `json:"target"`
	Args       map[string]string `json:"args"`
	Platform   string            `json:"platform"`
	Env        []string          `json:"env"`
}

type answer struct {
	Paths []string `json:"paths"`
	Error string   `json:"error,omitempty"`
}

func main() {
	if err := run(appcontext.Context()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	in := json.NewDecoder(bufio.NewReader(os.Stdin))
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for in.More() {
		var req request
		if err := in.Decode(&req); err != nil {
			return err
		}
		paths, err := followPaths(ctx, req)
		reply := answer{Paths: paths}
		if err != nil {
			reply.Error = err.Error()
		}
		if err := json.NewEncoder(out).Encode(reply); err != nil {
			return err
		}
	}
	return nil
}

func followPaths(ctx context.Context, req request) (paths []string, err error) {
	// The frontend runs in a process of its own, whose end ends one build.
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v", cause)
		}
	}()
	opt := dockerfile2llb.ConvertOpt{
		Config:       dockerui.Config{BuildArgs: req.Args, Target: req.Target},
		MetaResolver: images{env: req.Env},
		Warn:         func(string, string, string, string, []parser.Range) {},
	}
	if req.Platform != "" {
		platform, err := platforms.Parse(req.Platform)
		if err != nil {
			return nil, err
		}
		platform = platforms.Normalize(platform)
		opt.TargetPlatform = &platform
	}
	state, _, _, _, err := dockerfile2llb.Dockerfile2LLB(ctx, []byte(req.Dockerfile), opt)
	if err != nil {
		return nil, err
	}
	definition, err := state.Marshal(ctx)
	if err != nil {
		return nil, err
	}
	paths = []string{}
	for _, bytes := range definition.ToPB().Def {
		var op pb.Op
		if err := op.UnmarshalVT(bytes); err != nil {
			return nil, err
		}
		source := op.GetSource()
		if source == nil || source.Identifier != "local://context" {
			continue
		}
		encoded, ok := source.Attrs[pb.AttrFollowPaths]
		if !ok {
			return nil, nil
		}
		if err := json.Unmarshal([]byte(encoded), &paths); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

type images struct{ env []string }

func (i images) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	config, err := json.Marshal(map[string]any{
		"architecture": "amd64",
		"os":           "linux",
		"config":       map[string]any{"Env": i.env},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{digest.FromString(ref).String()}},
	})
	return ref, digest.FromBytes(config), config, err
}
