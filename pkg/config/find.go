package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/camwarden/camwarden/pkg/fault"
)

const systemFile = "/etc/camwarden/config.yaml"

// Find returns the file to read: the one of the flag, else of $CAMWARDEN_CONFIG (both explicit), else the user's
// ($XDG_CONFIG_HOME/camwarden/config.yaml, by default below ~/.config), else the system's in /etc; "" when there is none.
// An explicit file that is missing, and one whose existence cannot be known, is a usage fault.
func Find(flag string, env func(string) string) (path string, explicit bool, err error) {
	for _, named := range []struct{ path, by string }{{flag, "--config"}, {env("CAMWARDEN_CONFIG"), "CAMWARDEN_CONFIG"}} {
		if named.path == "" {
			continue
		}
		if _, err := os.Stat(named.path); err != nil {
			return "", true, unreadable(named.path, named.by, err)
		}
		return named.path, true, nil
	}
	for _, path := range []string{userFile(env), systemFile} {
		if path == "" {
			continue
		}
		_, err := os.Stat(path)
		switch {
		case err == nil:
			return path, false, nil
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR):
			return "", false, unreadable(path, "", err)
		}
	}
	return "", false, nil
}

// Sought says where Find looked for a file that nobody named, and why no further: cron sets no XDG_CONFIG_HOME, and not
// always HOME.
func Sought(env func(string) string) string {
	if user := userFile(env); user != "" {
		return user + " and " + systemFile
	}
	return systemFile + "; HOME is not set"
}

// userFile is where the XDG Base Directory Specification puts a user's configuration; a relative variable is void there.
func userFile(env func(string) string) string {
	dir := env("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) {
		home := env("HOME")
		if !filepath.IsAbs(home) {
			return ""
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "camwarden", "config.yaml")
}

// unreadable wraps the reason, so that who can do without a configuration may ask for fs.ErrPermission.
func unreadable(path, by string, err error) error {
	var cause *fs.PathError
	if errors.As(err, &cause) {
		err = cause.Err
	}
	if by != "" {
		by = " (given by " + by + ")"
	}
	failed := fault.New(fault.Usage, "", "cannot read the configuration %s%s: %w", path, by, err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return failed.WithHint("begin one with: camwarden -c %s config init", path)
	case errors.Is(err, fs.ErrPermission):
		return failed.WithHint("make it readable for uid %d, or do without it: camwarden -c /dev/null", os.Geteuid())
	case fault.OutOfFiles(err):
		return failed.WithHint("%s", fault.HintMoreFiles)
	default:
		return failed.WithHint("name another file with -c, or do without one: camwarden -c /dev/null")
	}
}
