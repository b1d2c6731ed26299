package reader

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const (
	maxManifest = 64 << 20
	maxGoTraces = 100000
)

// manifest is what is needed of gander.json.
type manifest struct {
	Recording int64 `json:"gander_recording"`
	Chunks    []string
	Clock     struct {
		ErrorNs      *float64 `json:"error_ns"`
		MonoOffsetNs *int64   `json:"mono_offset_ns"`
	}
	Programs []struct {
		Pid   int64
		Trace string
	}
	Go []struct {
		File        string
		Program     string
		Pid         int64
		BeginMonoNs int64  `json:"begin_mono_ns"`
		EndMonoNs   int64  `json:"end_mono_ns"`
		BootID      string `json:"boot_id"`
	}
}

// openFile opens nothing but plain files: a recording may come from anywhere, and a pipe in it would block.
func openFile(path string) (*os.File, error) {
	if st, err := os.Stat(path); err != nil {
		return nil, err
	} else if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: no file", path)
	}
	return os.Open(path)
}

func readFile(path string, limit int64) ([]byte, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%s: it is too large", path)
	}
	return text, err
}

// loadManifest reads one gander.json; those of a rotated recording's chunks too.
func (r *Reader) loadManifest(dir string) error {
	return r.loadOne(dir, true, map[string]bool{})
}

// seen: what was read already. However often the manifests name it, it is read once.
func (r *Reader) loadOne(dir string, top bool, seen map[string]bool) error {
	text, err := readFile(filepath.Join(dir, "gander.json"), maxManifest)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil || m.Recording != 1 {
		if err == nil {
			err = errors.New("no recording's")
		}
		if !top {
			r.note("%s: gander.json: %v", dir, err)
			return nil
		}
		return fmt.Errorf("gander.json: %w", err)
	}
	if top {
		json.Unmarshal(text, &r.Manifest)
	}
	if m.Clock.MonoOffsetNs != nil && !r.epochKnown {
		r.epochKnown, r.epochNs = true, *m.Clock.MonoOffsetNs
	}
	if e := m.Clock.ErrorNs; e != nil && *e >= 0 && *e < 1<<62 {
		r.errorNs = max(r.errorNs, int64(*e)+1)
	}
	for _, p := range m.Programs {
		if p.Trace != "" {
			r.pids[p.Trace] = p.Pid
		}
	}
	for _, g := range m.Go {
		path := filepath.Join(dir, g.File)
		if g.File != "" && filepath.IsLocal(g.File) && len(r.GoTraces) < maxGoTraces && !seen[path] {
			seen[path] = true
			r.GoTraces = append(r.GoTraces, GoTrace{path, g.Pid, g.BeginMonoNs, g.EndMonoNs, g.Program, g.BootID})
		}
	}
	for _, chunk := range m.Chunks {
		path := filepath.Join(dir, chunk)
		if top && filepath.IsLocal(chunk) && !seen[path] {
			seen[path] = true
			if err := r.loadOne(path, false, seen); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkBoot refuses what was not recorded in one life of one machine: CLOCK_MONOTONIC begins anew with each.
func (r *Reader) checkBoot(id, path string) error {
	id = strings.ToLower(strings.ReplaceAll(id, "-", ""))
	if len(id) != 32 {
		return nil
	}
	if r.boot == "" {
		r.boot, r.bootOf = id, path
	}
	if r.boot != id {
		return fmt.Errorf("%s and %s cannot be merged: they are of different machines or boots (boot ids %s and %s)", r.bootOf, path, r.boot, id)
	}
	return nil
}
