package daemon

import (
	"context"
	"crypto/sha256"
	"os"
	"time"
)

// readInterval is the time between two reads of the configuration's files. groupsync compares
// their content, because notifications of the file system can be missing: on network file
// systems, and when Kubernetes updates a volume by replacing a symbolic link.
const readInterval = 2 * time.Second

// retryReads is the number of reads after which follow loads a refused configuration again, even
// if no file has changed (see refused).
const retryReads = 10

// follow reloads the configuration on SIGHUP, and if a file of the configuration has changed. It
// waits until two reads in a row have the same content, so that it does not load a file that is
// being written. follow runs until ctx ends. It does not read the files of secrets, because every
// use of a secret reads its file. When follow starts, it reloads at once if a source of the
// configuration has changed since the start of the process.
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

// files returns the paths of the configuration's files, and of the CA files that the configuration
// in force names. A path can be empty.
func (s *replica) files() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return []string{s.options.File, s.options.ClearMLEnv, s.config.Keycloak.CAFile, s.config.ClearML.CAFile}
}

// fingerprint returns a digest of the contents of all files. A file that cannot be read has a
// fixed digest of its own, which no content has.
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
