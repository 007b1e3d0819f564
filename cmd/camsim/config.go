package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/camwarden/camwarden/pkg/camsim"
)

// configTemplate is a camwarden configuration. Values are written as JSON strings, which YAML reads (YAML 1.2 section 1.3).
// The default of password_env is emptied: cameras without a log-in shall not ask for a variable.
const configTemplate = `# Written by camsim for the simulated cameras of {{.Subnet}}.
defaults: {port: {{.Port}}, transport: tcp, max_connections: 2, password_env: ""}
subnets: {sim: [{{quote .Subnet}}]}
{{- if .Go2rtc}}
go2rtc: {url: {{quote .Go2rtc}}}
{{- end}}
cameras:
{{- range .Cameras}}
  - {id: {{quote .Name}}, {{if .URL}}url: {{quote .URL}}{{else}}host: {{quote .Host}}, path: {{quote .Path}}{{end}}, model: {{quote .Model}}
{{- if .Slots}}, max_connections: {{.Slots}}{{end}}
{{- if .Snapshot}}, snapshot: {{quote .Snapshot}}{{end}}
{{- if .SnapshotAuth}}, snapshot_auth: {{.SnapshotAuth}}{{end}}
{{- if .Username}}, username: {{quote .Username}}, password_file: {{quote .PasswordFile}}{{end}}}
{{- end}}
`

type configCamera struct {
	Name, URL, Host, Path, Model, Username, PasswordFile string // URL only where host and path do not say it all
	Snapshot, SnapshotAuth                               string
	Slots                                                int
}

// writeConfig writes the configuration to path, and each password into a file of its own beside it (mode 0600).
func writeConfig(path string, w world) error {
	subnet := w.subnet
	path, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	data := struct {
		Subnet  string
		Port    uint16
		Go2rtc  string
		Cameras []configCamera
	}{Subnet: subnet.Prefix.String(), Port: subnet.Cameras[0].Address().Port()}
	if w.go2rtc != nil {
		data.Go2rtc = w.go2rtc.URL()
	}
	for _, camera := range subnet.Cameras {
		c := camera.Config()
		entry := configCamera{
			Name: c.Name, Host: c.Address.Addr().String(), Path: c.Path, Model: "camsim " + string(c.Temper),
			Username: c.Username, Slots: c.Slots,
		}
		entry.Snapshot = camera.WebURL()
		switch c.Web {
		case camsim.WebBasic:
			entry.SnapshotAuth = "basic"
		case camsim.WebJSON:
			entry.Snapshot += "?user={username}&password={password}"
			entry.SnapshotAuth = "query"
		}
		if c.TLS {
			entry.URL = camera.URL()
		}
		if c.Username != "" {
			entry.PasswordFile = strings.TrimSuffix(path, filepath.Ext(path)) + "." + c.Name + ".pw"
			if err := writeFile(entry.PasswordFile, []byte(c.Password+"\n")); err != nil {
				return fmt.Errorf("--config: %w", err)
			}
		}
		data.Cameras = append(data.Cameras, entry)
	}
	quote := func(text string) (string, error) {
		quoted, err := json.Marshal(text)
		return string(quoted), err
	}
	page, err := template.New("config").Funcs(template.FuncMap{"quote": quote}).Parse(configTemplate)
	if err != nil {
		return err
	}
	var text strings.Builder
	if err := page.Execute(&text, data); err != nil {
		return err
	}
	if err := writeFile(path, []byte(text.String())); err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	return nil
}

// writeFile writes a file only its owner can read, whatever stood there before, so that nobody sees half of it.
func writeFile(path string, content []byte) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), ".camsim-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = temporary.Write(content)
	if closed := temporary.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		_ = os.Remove(temporary.Name())
	}
	return err
}
