package daemon

import (
	"context"
	"crypto/sha256"
	"os"
	"time"
)

// readInterval is how often the files of the configuration are read to find changes. Reading
// finds every kind of change, also the symlink swap with which Kubernetes updates a volume,
// and changes on network file systems, which send no notification.
const readInterval = 2 * time.Second

// retryReads is the number of reads after which a refused configuration is loaded again, even
// if none of its files changed.
const retryReads = 10

// follow reloads the configuration on SIGHUP, and when one of its files has changed and then
// stayed the same for one read. It runs until ctx ends. follow does not watch the files of
// secrets, because each use reads them again. When follow starts, it reloads at once if a file
// changed during the start.
func (s *replica) follow(ctx context.Context, hangups <-chan os.Signal) {
	ticks := time.NewTicker(readInterval)
	defer ticks.Stop()
	loaded := fingerprint(s.files())
	if s.stale() {
		_ = s.Reload() // Reload has logged the error
	}
	last, reads := loaded, 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			s.log.Info("SIGHUP: the configuration is loaded again")
		case <-ticks.C:
			before := last
			last = fingerprint(s.files())
			reads++
			changed := last != loaded && last == before
			if changed {
				s.log.Info("a file of the configuration changed: the configuration is loaded again")
			}
			if !changed && (reads < retryReads || !s.refused()) {
				continue
			}
		}
		last, reads = fingerprint(s.files()), 0
		loaded = last
		_ = s.Reload() // Reload has logged the error
	}
}

// files returns the paths of the files that the configuration in force was read from.
func (s *replica) files() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return []string{s.options.File, s.options.ClearMLEnv, s.config.Keycloak.CAFile, s.config.ClearML.CAFile}
}

// fingerprint returns a digest of the contents of the files. A file that cannot be read counts
// as a digest of zeros.
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
