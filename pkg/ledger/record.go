package ledger

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
)

// Save keeps a small record under a name, durably: once it returns, Load finds it even after a power cut.
// The error is a *fault.Error of class local, and then the record is as it was.
func (l *Ledger) Save(name string, v any) error {
	path := l.record(name)
	if err := l.put(path, v, true); err != nil {
		return trouble("write the record", path, err)
	}
	return nil
}

// Load reads the record of that name into v, which is a pointer, and reports whether there was one.
// A record that cannot be understood is set aside with .torn at the end of its name, and v is left as it was.
func (l *Ledger) Load(name string, v any) (bool, error) {
	path := l.record(name)
	content, err := slurp(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case errors.Is(err, errTooLarge):
		return false, setAside(path)
	case err != nil:
		return false, trouble("read the record", path, err)
	}
	// Into a fresh value: an error in the middle must not leave half a record in v.
	target := reflect.ValueOf(v).Elem()
	fresh := reflect.New(target.Type())
	if json.Unmarshal(content, fresh.Interface()) != nil {
		return false, setAside(path)
	}
	target.Set(fresh.Elem())
	return true, nil
}

func (l *Ledger) record(name string) string {
	return filepath.Join(l.records, fileName(name)+leaseSuffix)
}

func setAside(path string) error {
	if err := os.Rename(path, path+tornSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return trouble("set aside the record", path, err)
	}
	return nil
}
