package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// mostBytes bounds what is read of any one file: leases and records are well below it, and a foreign file must not fill memory.
const mostBytes = 1 << 20

const (
	leaseSuffix     = ".json"
	temporarySuffix = ".tmp"
	tornSuffix      = ".torn"
)

// place makes a file appear whole or not at all: written under a temporary name beside it, then renamed.
// With durable, the file and then its folder are on the disk before it returns.
func place(path string, content []byte, durable bool) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*"+temporarySuffix) // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil && durable {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	if durable {
		return syncFolder(dir)
	}
	return nil
}

// syncFolder makes the names in a folder durable; a renamed or removed file is not so by itself (fsync(2)).
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// slurp reads a small regular file. It neither follows a symlink nor waits for the other end of a pipe that lies in the way.
func slurp(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errNotAFile
	}
	content, err := io.ReadAll(io.LimitReader(f, mostBytes+1))
	if err != nil {
		return nil, err
	}
	if len(content) > mostBytes {
		return nil, errTooLarge
	}
	return content, nil
}

var (
	errNotAFile = errors.New("not a regular file")
	errTooLarge = errors.New("larger than anything we write")
)

// fileName turns any name into one that a folder can hold. Names of ordinary letters stay readable and as they are;
// all others get a digest, so that two names never share a file.
func fileName(name string) string {
	readable := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-:[]+", r) {
			return r
		}
		return '_'
	}, name)
	if readable == name && name != "" && len(name) <= 100 && name[0] != '.' && name[0] != '-' {
		return name
	}
	if readable = strings.TrimLeft(readable, ".-"); len(readable) > 60 {
		readable = readable[:60]
	}
	sum := sha256.Sum256([]byte(name))
	return readable + "~" + hex.EncodeToString(sum[:8])
}
