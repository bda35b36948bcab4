// How this version of the frontend is called.
package main

import (
	"context"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
)

func convert(ctx context.Context, text []byte, opt dockerfile2llb.ConvertOpt) (*llb.State, error) {
	state, _, _, _, err := dockerfile2llb.Dockerfile2LLB(ctx, text, opt)
	return state, err
}
