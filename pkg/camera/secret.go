package camera

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
)

// Secret says where a password comes from. It can be printed, logged and encoded in any way without showing it.
type Secret struct {
	Env     string // the name of an environment variable
	File    string // the path of a file
	Systemd string // the name of a systemd credential

	// plain is a pointer so that no reflection shows the text: fmt follows no pointer below the top.
	plain   *string
	implied bool
}

// PlainSecret returns a Secret that is the password itself, also when that is empty.
func PlainSecret(password string) Secret { return Secret{plain: &password} }

// ImpliedSecret returns the secret that nobody asked for: $CAM_PASSWORD, which matters only together with a user name.
func ImpliedSecret() Secret { return Secret{Env: DefaultPasswordEnv, implied: true} }

// Implied reports whether s is the one of ImpliedSecret.
func (s Secret) Implied() bool { return s.implied }

// Plain reports whether s is the password itself, and not the place where it is found.
func (s Secret) Plain() bool { return s.plain != nil }

// IsZero reports whether s names no secret at all.
func (s Secret) IsZero() bool {
	return s.plain == nil && s.Env == "" && s.File == "" && s.Systemd == ""
}

// For returns the secret that a camera with this user name needs: none when it is only implied and there is no user.
func (s Secret) For(username string) Secret {
	if s.implied && username == "" {
		return Secret{}
	}
	return s
}

// String names the place of the secret, never the secret.
func (s Secret) String() string {
	switch {
	case s.plain != nil:
		return "***"
	case s.File != "":
		return "file " + s.File
	case s.Systemd != "":
		return "credential " + s.Systemd
	case s.Env != "":
		return "$" + s.Env
	default:
		return ""
	}
}

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.String() }

// Format makes every verb of fmt print String; %d, say, would otherwise walk the fields.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText encodes String, for JSON and its like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalYAML encodes String.
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }

// The bounds of reading a secret.
const (
	maxSecret  = 4096 // bytes
	secretWait = 5 * time.Second
)

// Reveal returns the password. Without any secret named that is "". A variable or file that is missing or empty, a file that
// others can read, and a password that no protocol can carry are usage faults.
func (s Secret) Reveal() (string, error) {
	switch {
	case s.plain != nil:
		return carried(*s.plain, "the password")
	case s.Systemd != "":
		return s.revealCredential()
	case s.File != "":
		return revealFile(s.File)
	case s.Env != "":
		password, ok := os.LookupEnv(s.Env)
		if !ok {
			return "", fault.New(fault.Usage, "", "the environment variable %s, which should hold the password, is not set", s.Env).
				WithHint("export %s, or use password_file: cron starts commands without the variables of your shell", s.Env)
		}
		if password == "" {
			return "", fault.New(fault.Usage, "", "the environment variable %s, which should hold the password, is empty", s.Env).
				WithHint("export %s with the password in it; of a camera without one say password: \"\"", s.Env)
		}
		return carried(password, "the password in $"+s.Env)
	}
	return "", nil
}

// Check reports what is wrong with the permissions of the file that holds the secret, without reading it, as a usage
// fault. What cannot be looked at is left for Reveal to report.
func (s Secret) Check() error {
	if s.File == "" {
		return nil
	}
	info, err := os.Stat(s.File)
	if err != nil {
		return nil //nolint:nilerr // only a command that dials needs the file
	}
	return exposed(s.File, info)
}

// Notice says in words that the file of the secret is readable by others and accepted all the same, or "".
func (s Secret) Notice() string {
	if s.File == "" || !Entrusted(s.File) {
		return ""
	}
	if info, err := os.Stat(s.File); err == nil && open(info) {
		return fmt.Sprintf("%s can be read by others (mode %04o); accepted, because its directory is for secrets", s.File, info.Mode().Perm())
	}
	return ""
}

// Entrusted reports whether the path lies where a service manager or a container runtime puts secrets and keeps their
// modes: $CREDENTIALS_DIRECTORY, /run/secrets, /var/run/secrets.
func Entrusted(path string) bool {
	for _, dir := range []string{os.Getenv("CREDENTIALS_DIRECTORY"), "/run/secrets", "/var/run/secrets"} {
		if filepath.IsAbs(dir) && strings.HasPrefix(filepath.Clean(path), filepath.Clean(dir)+"/") {
			return true
		}
	}
	return false
}

func open(info fs.FileInfo) bool { return info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 }

func exposed(path string, info fs.FileInfo) error {
	if !open(info) || Entrusted(path) {
		return nil
	}
	return fault.New(fault.Usage, "", "%s holds a password and can be read by others (mode %04o)", path, info.Mode().Perm()).
		WithHint("chmod 600 %s", path)
}

func (s Secret) revealCredential() (string, error) {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return "", fault.New(fault.Usage, "", "no credential %s: $CREDENTIALS_DIRECTORY is not set", s.Systemd).
			WithHint("write an absolute path as password_file, or LoadCredential=%s:/path/to/it in the systemd unit", s.Systemd)
	}
	if !filepath.IsLocal(s.Systemd) {
		return "", fault.New(fault.Usage, "", "the credential name %s leaves $CREDENTIALS_DIRECTORY", s.Systemd)
	}
	return revealFile(filepath.Join(dir, s.Systemd))
}

func revealFile(path string) (string, error) {
	// Without O_NONBLOCK the opening of a FIFO waits for a writer, perhaps for ever.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", unreadable(path, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", unreadable(path, err)
	}
	if err := exposed(path, info); err != nil {
		return "", err
	}
	_ = file.SetReadDeadline(time.Now().Add(secretWait)) // only pipes can wait, and only they take a deadline
	content, err := io.ReadAll(io.LimitReader(file, maxSecret+1))
	if err != nil {
		return "", unreadable(path, err)
	}
	password := strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")
	if password == "" {
		return "", fault.New(fault.Usage, "", "the password file %s is empty", path)
	}
	return carried(password, "the password in "+path)
}

func unreadable(path string, err error) error {
	var inner *fs.PathError
	if errors.As(err, &inner) {
		err = inner.Err // the path stands in our own words already
	}
	failed := fault.New(fault.Usage, "", "cannot read the password file %s: %w", path, err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return failed.WithHint("create it, with the password and nothing else, and chmod 600 %s", path)
	case errors.Is(err, fs.ErrPermission):
		return failed.WithHint("make it readable for the user that runs camwarden (uid %d)", os.Geteuid())
	default:
		return failed
	}
}

// carried refuses what would end a header line or an ffconcat line, and so could say things we never meant.
func carried(password, what string) (string, error) {
	if len(password) > maxSecret {
		return "", fault.New(fault.Usage, "", "%s is longer than %d bytes", what, maxSecret)
	}
	if strings.ContainsAny(password, "\r\n\x00") {
		return "", fault.New(fault.Usage, "", "%s holds a line break or a zero byte", what).
			WithHint("give the password alone, on one line")
	}
	return password, nil
}
