// What BuildKit's packages are given, and how they write what they say: as of 0.12.
package main

import (
	"context"
	"errors"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerui"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	gatewaypb "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/pb"
	digest "github.com/opencontainers/go-digest"
)

func options(req request) (dockerfile2llb.ConvertOpt, error) {
	client, err := dockerui.NewClient(daemon{})
	return dockerfile2llb.ConvertOpt{
		Client:       client,
		MetaResolver: images{env: req.Env},
		Warn:         func(string, string, [][]byte, *parser.Range) {},
	}, err
}

func unmarshal(op *pb.Op, bytes []byte) error { return op.Unmarshal(bytes) }

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
