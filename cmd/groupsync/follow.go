package main

import (
	"context"
	"crypto/sha256"
	"os"
	"time"
)

// lookEvery is how often the files of the configuration are looked at. Reading
// them finds every kind of change, the symlink swap by which Kubernetes updates
// a volume and network file systems without notification included.
const lookEvery = 2 * time.Second

// tryAgain is after how many looks a configuration that was refused is loaded
// anew, though none of its files changed.
const tryAgain = 10

// follow reloads the configuration on a hangup, and whenever one of its files
// has changed and then stayed the same for a look, until ctx ends. Secrets are
// not among the files: they are read anew whenever they are used. What changed
// while the process started is found at once.
func (s *replica) follow(ctx context.Context, hangups <-chan os.Signal) {
	ticks := time.NewTicker(lookEvery)
	defer ticks.Stop()
	loaded := fingerprint(s.files())
	if s.stale() {
		_ = s.Reload() // it has said what was wrong
	}
	last, looks := loaded, 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			s.log.Info("SIGHUP: the configuration is loaded anew")
		case <-ticks.C:
			before := last
			last = fingerprint(s.files())
			looks++
			changed := last != loaded && last == before
			if changed {
				s.log.Info("a file of the configuration changed: it is loaded anew")
			}
			if !changed && (looks < tryAgain || !s.refused()) {
				continue
			}
		}
		last, looks = fingerprint(s.files()), 0
		loaded = last
		_ = s.Reload() // it has said what was wrong
	}
}

// files are those that the configuration in force was made of.
func (s *replica) files() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return []string{s.options.File, s.options.ClearMLEnv, s.config.Keycloak.CAFile, s.config.ClearML.CAFile}
}

// fingerprint tells contents apart; a file that cannot be read has none.
func fingerprint(paths []string) [sha256.Size]byte {
	h := sha256.New()
	for _, path := range paths {
		data, err := os.ReadFile(path) // #nosec G304 -- the paths are those of the configuration, and only a digest is kept
		sum := sha256.Sum256(data)
		if err != nil {
			sum = [sha256.Size]byte{}
		}
		h.Write(sum[:])
	}
	return [sha256.Size]byte(h.Sum(nil))
}
