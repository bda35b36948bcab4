// What BuildKit's packages are given, and how they write what they say, in recent versions.
package main

import (
	"context"

	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/solver/pb"
	digest "github.com/opencontainers/go-digest"
)

func options(req request) (dockerfile2llb.ConvertOpt, error) {
	return dockerfile2llb.ConvertOpt{
		MetaResolver: images{env: req.Env},
		Warn:         func(string, string, string, string, []parser.Range) {},
	}, nil
}

func unmarshal(op *pb.Op, bytes []byte) error { return op.UnmarshalVT(bytes) }

type images struct{ env []string }

func (i images) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	name, config, err := imageConfig(ref, i.env)
	return ref, name, config, err
}
