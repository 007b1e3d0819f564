package camsim

import (
	"cmp"
	"context"
	"crypto/md5"  // RFC 2617
	"crypto/sha1" // WS-Security UsernameToken 1.0
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// ONVIFConfig is the ONVIF side of one simulated camera or recorder.
type ONVIFConfig struct {
	Address            netip.AddrPort // on 127.0.0.0/8; must have a port
	Username, Password string         // set: what is not for everybody wants a log-in
	Maker, Model       string         // default camsim, sim
	Server             string         // the "Server" header; default camsim
	Channels           int            // default 1; each has a large and a small stream
	Path               string         // of its only stream; left out, each channel has two, at StreamPath
	RTSP               uint16         // the port of its streams; default DefaultPort
	Quirks             []Quirk
}

// Quirk is one way in which devices differ from the book.
type Quirk string

// The quirks. Each was seen in the field.
const (
	ClockAhead      Quirk = "clock-ahead"      // its clock is an hour ahead, and tokens are judged by it
	DigestOnly      Quirk = "digest-only"      // a token means nothing to it: HTTP digest, or nothing
	ForeignPrefixes Quirk = "foreign-prefixes" // its namespaces have prefixes of its own
	NoSnapshot      Quirk = "no-snapshot"      // ter:ActionNotSupported for GetSnapshotUri
	SnapshotIsRTSP  Quirk = "snapshot-is-rtsp" // the URI of its snapshot begins with rtsp://
	NAT             Quirk = "nat"              // all its addresses name another host
	Media2Only      Quirk = "media2-only"      // it has no Media service, only Media2
	NoONVIF         Quirk = "no-onvif"         // a web server that is no camera, as of a printer: 405 to everything but GET
)

// ONVIFCounts is what has happened at a device so far.
type ONVIFCounts struct {
	Requests int // in all
	Accepted int // with a log-in that was right
	Refused  int // with one that was wrong
	Clear    int // with the password in clear
}

// ONVIF is one running device service. Its methods may be called from several goroutines.
type ONVIF struct {
	config ONVIFConfig
	server *http.Server

	mu     sync.Mutex
	counts ONVIFCounts
	nonces map[string]bool // that a token had
	nonce  string          // of the digest
}

// strangerHost is what a device behind NAT takes for its own address. Nobody is there.
const strangerHost = "127.255.255.254"

// StartONVIF brings a device service to life.
func StartONVIF(config ONVIFConfig) (*ONVIF, error) {
	config.Maker, config.Model = cmp.Or(config.Maker, "camsim"), cmp.Or(config.Model, "sim")
	config.Server = cmp.Or(config.Server, "camsim")
	config.Channels, config.RTSP = max(1, config.Channels), cmp.Or(config.RTSP, DefaultPort)
	if !config.Address.Addr().IsLoopback() {
		return nil, fmt.Errorf("camsim: %s is not a loopback address: simulated cameras stay on this host", config.Address)
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", config.Address.String())
	if err != nil {
		return nil, fmt.Errorf("camsim: ONVIF at %s: %w", config.Address, err)
	}
	o := &ONVIF{config: config, nonces: map[string]bool{}, nonce: hex.EncodeToString(md5.New().Sum([]byte(config.Address.String()))[:8])}
	o.server = &http.Server{Handler: o, ReadHeaderTimeout: time.Minute}
	go func() { _ = o.server.Serve(listener) }()
	return o, nil
}

// Close ends the service.
func (o *ONVIF) Close() { _ = o.server.Close() }

// Counts returns what has happened so far.
func (o *ONVIF) Counts() ONVIFCounts {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.counts
}

// Address returns where the service is.
func (o *ONVIF) Address() netip.AddrPort { return o.config.Address }

// StreamPath returns the path of the large or the small stream of a channel, counted from 1.
func StreamPath(channel int, small bool) string {
	if small {
		return fmt.Sprintf("/Streaming/Channels/%d02", channel)
	}
	return fmt.Sprintf("/Streaming/Channels/%d01", channel)
}

func (o *ONVIF) has(q Quirk) bool { return slices.Contains(o.config.Quirks, q) }

func (o *ONVIF) now() time.Time {
	if o.has(ClockAhead) {
		return time.Now().Add(time.Hour)
	}
	return time.Now()
}

// operation is what a request asks: its name with its namespace, the token of a profile, and a log-in.
type operation struct {
	space, name, profile               string
	username, password, nonce, created string
	clear                              bool
}

// readOperation reads the envelope of a request.
func readOperation(r io.Reader) (operation, error) {
	d := xml.NewDecoder(io.LimitReader(r, 1<<20))
	var c operation
	var at string
	inBody := false
	for {
		next, err := d.Token()
		if errors.Is(err, io.EOF) {
			return c, nil
		}
		if err != nil {
			return c, err
		}
		switch token := next.(type) {
		case xml.StartElement:
			at = token.Name.Local
			if inBody && c.name == "" {
				c.space, c.name = token.Name.Space, at
			}
			inBody = inBody || at == "Body"
			for _, attribute := range token.Attr {
				if at == "Password" && attribute.Name.Local == "Type" {
					c.clear = strings.HasSuffix(attribute.Value, "#PasswordText")
				}
			}
		case xml.EndElement:
			at = ""
		case xml.CharData:
			text := string(token)
			switch at {
			case "Username":
				c.username = text
			case "Password":
				c.password = text
			case "Nonce":
				c.nonce = text
			case "Created":
				c.created = text
			case "ProfileToken":
				c.profile = text
			}
		}
	}
}

// ServeHTTP answers one request.
func (o *ONVIF) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.counts.Requests++
	w.Header().Set("Server", o.config.Server)
	switch {
	case r.Method == http.MethodGet && r.URL.Path == snapshotPath && !o.has(NoONVIF) && !o.has(NoSnapshot) && !o.has(SnapshotIsRTSP):
		o.snapshot(w, r)
		return
	case r.Method != http.MethodPost:
		_, _ = io.WriteString(w, "<html>It works!</html>")
		return
	case o.has(NoONVIF):
		http.Error(w, "", http.StatusMethodNotAllowed)
		return
	}
	c, err := readOperation(r.Body)
	if err != nil || c.name == "" {
		o.fault(w, http.StatusBadRequest, "ter:WellFormed")
		return
	}
	if !slices.Contains([]string{"GetSystemDateAndTime", "GetCapabilities", "GetServices"}, c.name) && !o.allowed(w, r, c) {
		return
	}
	o.answer(w, c)
}

// allowed judges the log-in of a request, and answers it if that is not enough.
func (o *ONVIF) allowed(w http.ResponseWriter, r *http.Request, c operation) bool {
	if o.config.Username == "" {
		return true
	}
	tried, right := c.username != "" && !o.has(DigestOnly), false
	if tried {
		right = o.token(c)
	}
	if given := r.Header.Get("Authorization"); given != "" {
		tried, right = true, o.digest(r, given)
	}
	switch {
	case right:
		o.counts.Accepted++
		return true
	case tried:
		o.counts.Refused++
	}
	if o.has(DigestOnly) {
		w.Header().Set("WWW-Authenticate", o.challenge())
		o.fault(w, http.StatusUnauthorized, "ter:NotAuthorized")
	} else {
		o.fault(w, http.StatusBadRequest, "ter:NotAuthorized")
	}
	return false
}

func (o *ONVIF) token(c operation) bool {
	if c.clear {
		o.counts.Clear++
		return false
	}
	nonce, err := base64.StdEncoding.DecodeString(c.nonce)
	created, wrong := time.Parse(time.RFC3339, c.created)
	if err != nil || wrong != nil || o.nonces[c.nonce] || o.now().Sub(created).Abs() > 30*time.Second || c.username != o.config.Username {
		return false
	}
	o.nonces[c.nonce] = true
	sum := sha1.Sum([]byte(string(nonce) + c.created + o.config.Password))
	return base64.StdEncoding.EncodeToString(sum[:]) == c.password
}

func (o *ONVIF) digest(r *http.Request, given string) bool {
	if strings.HasPrefix(given, "Basic ") {
		o.counts.Clear++
		return false
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(strings.TrimPrefix(given, "Digest "), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[name] = strings.Trim(value, `"`)
	}
	sum := func(text string) string {
		h := md5.Sum([]byte(text))
		return hex.EncodeToString(h[:])
	}
	secret := sum(o.config.Username + ":camsim:" + o.config.Password)
	want := sum(strings.Join([]string{secret, o.nonce, fields["nc"], fields["cnonce"], "auth", sum(r.Method + ":" + fields["uri"])}, ":"))
	return fields["username"] == o.config.Username && fields["nonce"] == o.nonce && fields["response"] == want
}

// snapshotPath is where the picture is that GetSnapshotUri names.
const snapshotPath = "/snapshot"

// snapshot gives the picture; with a log-in by digest, whatever the service itself takes.
func (o *ONVIF) snapshot(w http.ResponseWriter, r *http.Request) {
	if o.config.Username != "" {
		given := r.Header.Get("Authorization")
		switch {
		case given != "" && o.digest(r, given):
			o.counts.Accepted++
		default:
			if given != "" {
				o.counts.Refused++
			}
			w.Header().Set("WWW-Authenticate", o.challenge())
			http.Error(w, "", http.StatusUnauthorized)
			return
		}
	}
	picture, err := scene(0)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "image/jpeg")
	_, _ = w.Write(picture)
}

func (o *ONVIF) challenge() string {
	return `Digest realm="camsim", nonce="` + o.nonce + `", qop="auth"`
}

func (o *ONVIF) fault(w http.ResponseWriter, status int, code string) {
	o.write(w, status, `<s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>`+code+`</s:Value></s:Subcode></s:Code><s:Reason><s:Text xml:lang="en">no</s:Text></s:Reason></s:Fault>`)
}

func (o *ONVIF) write(w http.ResponseWriter, status int, body string) {
	text := `<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:tds="` + deviceSpace + `" xmlns:trt="` + mediaSpace +
		`" xmlns:tr2="` + media2Space + `" xmlns:tt="http://www.onvif.org/ver10/schema" xmlns:ter="http://www.onvif.org/ver10/error"><s:Body>` + body + `</s:Body></s:Envelope>`
	if o.has(ForeignPrefixes) {
		text = strings.NewReplacer("<s:", "<SOAP-ENV:", "</s:", "</SOAP-ENV:", "xmlns:s=", "xmlns:SOAP-ENV=", "<tds:", "<a:", "</tds:", "</a:", "xmlns:tds=", "xmlns:a=",
			"<trt:", "<b1:", "</trt:", "</b1:", "xmlns:trt=", "xmlns:b1=", "<tt:", "<c:", "</tt:", "</c:", "xmlns:tt=", "xmlns:c=").Replace(text)
	}
	w.Header().Set("Content-Type", "application/soap+xml; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

const (
	deviceSpace = "http://www.onvif.org/ver10/device/wsdl"
	mediaSpace  = "http://www.onvif.org/ver10/media/wsdl"
	media2Space = "http://www.onvif.org/ver20/media/wsdl"
)
