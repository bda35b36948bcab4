// The oracle answers which paths of the build context BuildKit's Dockerfile frontend asks for, so that
// garden-build's tests can compare.
//
// It reads JSON lines {dockerfile, target, args, platform, env} and prints for each {paths}, where null stands
// for the whole context, or {error}. Every image is there, and has the environment `env` and no triggers.
package main

import (
	"context"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/solver/pb"
)

// askedForByFrontend returns what the frontend says of each use of the build context: the paths, as JSON, or nothing for the whole.
func askedForByFrontend(ctx context.Context, req request) ([]string, error) {
	opt, err := options(req)
	if err != nil {
		return nil, err
	}
	opt.Config = dockerui.Config{BuildArgs: req.Args, Target: req.Target}
	if req.Platform != "" {
		platform, err := platforms.Parse(req.Platform)
		if err != nil {
			return nil, err
		}
		platform = platforms.Normalize(platform)
		opt.TargetPlatform = &platform
	}
	state, err := convert(ctx, []byte(req.Dockerfile), opt)
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
		if err := unmarshal(&op, bytes); err != nil {
			return nil, err
		}
		if source := op.GetSource(); source != nil && source.Identifier == "local://context" {
			asked = append(asked, source.Attrs[pb.AttrFollowPaths])
		}
	}
	return asked, nil
}
