// The conversation with garden-build's tests, which is the same for all versions of BuildKit's Dockerfile frontend.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"

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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
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
	asked, err := askedForByFrontend(ctx, req)
	if err != nil {
		return nil, err
	}
	paths = []string{}
	for _, encoded := range asked {
		if encoded == "" {
			return nil, nil
		}
		if err := json.Unmarshal([]byte(encoded), &paths); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// imageConfig is the configuration of every image: it has this environment, and no triggers.
func imageConfig(ref string, env []string) (digest.Digest, []byte, error) {
	config, err := json.Marshal(map[string]any{
		"architecture": "amd64",
		"os":           "linux",
		"config":       map[string]any{"Env": env},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{digest.FromString(ref).String()}},
	})
	return digest.FromBytes(config), config, err
}
