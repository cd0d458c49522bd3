package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

const mask = "[masked]"

// Masked is a secret text. Formatting, encoding or logging a Masked gives "[masked]".
// Secret.Read returns the text itself.
type Masked string

// String returns "[masked]".
func (Masked) String() string { return mask }

// Format writes "[masked]", whatever the verb.
func (Masked) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(mask)) }

// MarshalText returns "[masked]". JSON, YAML and slog call it.
func (Masked) MarshalText() ([]byte, error) { return []byte(mask), nil }

// Secret is a secret whose text is in the configuration or in a file. Printing a Secret gives
// "[masked]".
type Secret struct {
	key   string // the key of the configuration that holds the text, for errors
	value Masked
	file  string
}

// Secret returns the secret of groupsync's client in Keycloak.
func (k Keycloak) Secret() Secret {
	return Secret{"keycloak.client_secret", k.ClientSecret, k.ClientSecretFile}
}

// Access returns the access key of groupsync's credentials for ClearML.
func (c ClearML) Access() Secret {
	return Secret{"clearml.access_key", c.AccessKey, c.AccessKeyFile}
}

// Secret returns the secret key of groupsync's credentials for ClearML.
func (c ClearML) Secret() Secret {
	return Secret{"clearml.secret_key", c.SecretKey, c.SecretKeyFile}
}

// String returns "[masked]".
func (Secret) String() string { return mask }

// Format writes "[masked]", whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(mask)) }

// MarshalText returns "[masked]".
func (Secret) MarshalText() ([]byte, error) { return []byte(mask), nil }

// Read returns the text of the secret. If the secret is in a file, each call of Read reads the
// file, so that an operator can replace the secret without a restart. Read removes the line ends
// after the secret. An error names the key and the file, and quotes no part of the secret.
func (s Secret) Read() (string, error) {
	if s.file == "" {
		return string(s.value), nil
	}
	data, err := os.ReadFile(s.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%s_file: there is no file %s: put the secret there, or correct the path", s.key, s.file)
	case errors.Is(err, fs.ErrPermission):
		return "", fmt.Errorf("%s_file: %s may not be read: let the user that groupsync runs as read it", s.key, s.file)
	case err != nil:
		return "", fmt.Errorf("%s_file: %w: correct the path", s.key, err)
	}
	text := strings.TrimRight(string(data), "\r\n")
	if strings.TrimSpace(text) == "" {
		return "", fmt.Errorf("%s_file: %s is empty: write the secret into it", s.key, s.file)
	}
	return text, nil
}
