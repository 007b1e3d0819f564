package config

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/camwarden/camwarden/pkg/camera"
)

// Draft is a configuration that is still to be written: the cameras that were found somewhere.
type Draft struct {
	Head    []string // comment lines before it, without their "#"
	Cameras []DraftCamera
	Items   bool // only the items, to be appended to a list that there is
}

// DraftCamera is one camera of a Draft, in the keys of the configuration. Empty ones are left out.
type DraftCamera struct {
	ID             string  `json:"id"`
	URL            string  `json:"url,omitempty"` // in place of host, port and path, where the scheme must be said
	Host           string  `json:"host,omitempty"`
	Port           uint16  `json:"port,omitempty"`
	Path           string  `json:"path,omitempty"`
	SubPath        string  `json:"sub_path,omitempty"`
	Snapshot       string  `json:"snapshot,omitempty"`
	SnapshotAuth   string  `json:"snapshot_auth,omitempty"`
	Username       string  `json:"username,omitempty"`
	Password       *string `json:"password,omitempty"` // only ever the empty one, which keeps a default away
	PasswordFile   string  `json:"password_file,omitempty"`
	PasswordEnv    string  `json:"password_env,omitempty"`
	Model          string  `json:"model,omitempty"`
	Brand          string  `json:"brand,omitempty"`
	Transport      string  `json:"transport,omitempty"`
	MaxConnections int     `json:"max_connections,omitempty"`
	Note           string  `json:"-"` // what is left to do, for the comments before the list
}

// YAML returns the text of the configuration. A text of any kind in it stays the value of its own key.
func (d Draft) YAML() ([]byte, error) {
	var out bytes.Buffer
	for _, line := range d.Head {
		out.WriteString(comment(line))
	}
	for _, c := range d.Cameras {
		if c.Note != "" {
			out.WriteString(comment(c.ID + ": " + c.Note))
		}
	}
	if len(d.Cameras) == 0 && d.Items {
		return out.Bytes(), nil
	}
	if len(d.Cameras) == 0 {
		out.WriteString("cameras: []\n")
		return out.Bytes(), nil
	}
	body, err := MarshalYAML(struct {
		Cameras []DraftCamera `json:"cameras"`
	}{d.Cameras})
	if err != nil {
		return nil, err
	}
	if d.Items {
		_, body, _ = bytes.Cut(body, []byte("\n"))
	}
	out.Write(body)
	return out.Bytes(), nil
}

// comment is a comment of one line, whatever the text is: what is not printable, line breaks of every kind among it, is escaped.
func comment(text string) string {
	var out strings.Builder
	for _, r := range strings.ToValidUTF8(text, "?") {
		if strconv.IsPrint(r) {
			out.WriteRune(r)
		} else {
			out.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return "# " + out.String() + "\n"
}

// URLOf returns the URL of a camera, without a log-in.
func URLOf(scheme, host string, port uint16, path string) string {
	return camera.Camera{Scheme: scheme, Host: host, Port: port, Path: path}.URL()
}
