// The oracle answers which paths of the build context BuildKit's Dockerfile frontend asks for, so that
// garden-build's tests can compare.
//
// It reads JSON lines {dockerfile, target, args, platform, env} and prints for each {paths}, where null stands
// for the whole context, or {error}. Every image is there, and has the environment `env` and no triggers.
package main

import (
	"context"
	"errors"

	"github.com/containerd/containerd/platforms"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerui"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	gatewaypb "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/pb"
	digest "github.com/opencontainers/go-digest"
)

// askedForByFrontend returns what the frontend says of each use of the build context: the paths, as JSON, or nothing for the whole.
func askedForByFrontend(ctx context.Context, req request) ([]string, error) {
	client, err := dockerui.NewClient(daemon{})
	if err != nil {
		return nil, err
	}
	opt := dockerfile2llb.ConvertOpt{
		Client:       client,
		Config:       dockerui.Config{BuildArgs: req.Args, Target: req.Target},
		MetaResolver: images{env: req.Env},
		Warn:         func(string, string, [][]byte, *parser.Range) {},
	}
	if req.Platform != "" {
		platform, err := platforms.Parse(req.Platform)
		if err != nil {
			return nil, err
		}
		platform = platforms.Normalize(platform)
		opt.TargetPlatform = &platform
	}
	state, _, _, err := dockerfile2llb.Dockerfile2LLB(ctx, []byte(req.Dockerfile), opt)
	if err != nil {
		return nil, err
	}
	definition, err := state.Marshal(ctx)
	if err != nil {
		return nil, err
	}
	var asked []string
	for _, bytes := range definition.ToPB().Def {
		var op pb.Op
		if err := op.Unmarshal(bytes); err != nil {
			return nil, err
		}
		if source := op.GetSource(); source != nil && source.Identifier == "local://context" {
			asked = append(asked, source.Attrs[pb.AttrFollowPaths])
		}
	}
	return asked, nil
}

type images struct{ env []string }

func (i images) ResolveImageConfig(_ context.Context, ref string, _ llb.ResolveImageConfigOpt) (string, digest.Digest, []byte, error) {
	name, config, err := imageConfig(ref, i.env)
	return ref, name, config, err
}

// daemon is what this version of the frontend asks for the context itself: it has one without an ignore file.
type daemon struct{ gateway.Client }

func (daemon) BuildOpts() gateway.BuildOpts {
	return gateway.BuildOpts{
		Opts:    map[string]string{},
		Caps:    gatewaypb.Caps.CapSet(gatewaypb.Caps.All()),
		LLBCaps: pb.Caps.CapSet(pb.Caps.All()),
	}
}

func (daemon) Inputs(context.Context) (map[string]llb.State, error) { return nil, nil }

func (daemon) Solve(context.Context, gateway.SolveRequest) (*gateway.Result, error) {
	result := gateway.NewResult()
	result.SetRef(noFiles{})
	return result, nil
}

type noFiles struct{ gateway.Reference }

func (noFiles) ReadFile(context.Context, gateway.ReadRequest) ([]byte, error) {
	return nil, errors.New("there is no file")
}
