package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/camwarden/camwarden/pkg/camsim"
)

// document is what -o json writes, on one line.
type document struct {
	Schema    string   `json:"schema"`
	Subnet    string   `json:"subnet"`
	CountsURL string   `json:"counts_url"` // empty without --counts
	Go2rtcURL string   `json:"go2rtc_url"` // empty without --go2rtc
	Cameras   []member `json:"cameras"`
}

type member struct {
	Camera   string        `json:"camera"`
	Address  string        `json:"address"`
	URL      string        `json:"url"`
	Temper   camsim.Temper `json:"temper"`
	Sentence string        `json:"sentence"`
}

// list says which cameras there are; whoever reads it may dial them.
func list(w io.Writer, format string, all world, countsURL string) error {
	doc := document{Schema: "camsim.subnet/1", Subnet: all.subnet.Prefix.String(), CountsURL: countsURL, Cameras: []member{}}
	if all.go2rtc != nil {
		doc.Go2rtcURL = all.go2rtc.URL()
	}
	for _, camera := range all.subnet.Cameras {
		doc.Cameras = append(doc.Cameras, member{
			camera.Name(), camera.Address().String(), camera.URL(), camera.Temper(), camera.Temper().Sentence(),
		})
	}
	if format == "json" {
		return json.NewEncoder(w).Encode(doc)
	}
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, m := range doc.Cameras {
		_, _ = fmt.Fprintf(columns, "%s\t%s\t%s\t%s\n", m.Camera, m.URL, m.Temper, m.Sentence)
	}
	return columns.Flush()
}

// table shows what each camera has counted.
func table(w io.Writer, cameras []*camsim.Camera) error {
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(columns, "CAMERA\tTEMPER\tOPEN\tMOST\tEVER\tSESSIONS\tMOST\tLOGINS\tFAILED\tREQUESTS\tTEARDOWNS")
	for _, camera := range cameras {
		c := camera.Counts()
		_, _ = fmt.Fprintf(columns, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", camera.Name(), camera.Temper(),
			c.Connections, c.ConnectionsMost, c.ConnectionsTotal, c.Sessions, c.SessionsMost,
			c.Logins, c.LoginsFailed, c.Requests, c.Teardowns)
	}
	return columns.Flush()
}
