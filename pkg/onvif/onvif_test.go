package onvif_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/onvif"
)

const (
	user     = "viewer"
	password = "p4ss-W0rd:ß"
)

// stranger is a server that does what it likes with each request, and keeps what it was sent.
type stranger struct {
	at   netip.AddrPort
	seen atomic.Pointer[string]
}

// newStranger answers every request with what say returns for its body; say may also write to the connection by itself.
func newStranger(t *testing.T, say func(body string, conn io.Writer) string) *stranger {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	s := &stranger{at: listener.Addr().(*net.TCPAddr).AddrPort()}
	empty := ""
	s.seen.Store(&empty)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				for {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					body, _ := io.ReadAll(r.Body)
					all := *s.seen.Load() + fmt.Sprint(r.Header) + string(body)
					s.seen.Store(&all)
					answer := say(string(body), conn)
					if answer == "" {
						return
					}
					if _, err := io.WriteString(conn, answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return s
}

// soap is an answer with a body in an envelope.
func soap(body string) string {
	text := `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>` + body + `</s:Body></s:Envelope>`
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/soap+xml\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
}

func ask(t *testing.T, at netip.AddrPort) (onvif.Device, error) {
	t.Helper()
	return onvif.Ask(t.Context(), onvif.Target{Address: at, Username: user, Password: password, LogIn: true}, onvif.Limits{Step: 2 * time.Second, Whole: 5 * time.Second})
}

func TestAsk_simulated(t *testing.T) {
	t.Parallel()
	for _, quirk := range []camsim.Quirk{"", camsim.ClockAhead, camsim.DigestOnly, camsim.ForeignPrefixes, camsim.NoSnapshot, camsim.SnapshotIsRTSP, camsim.NAT, camsim.Media2Only} {
		t.Run(string(quirk), func(t *testing.T) {
			t.Parallel()
			at := netip.AddrPortFrom(camsim.DrawSubnet().Addr().Next(), 8000)
			o, err := camsim.StartONVIF(camsim.ONVIFConfig{Address: at, Username: user, Password: password, Maker: "Acme & Söhne", Channels: 16, Quirks: []camsim.Quirk{quirk}})
			if err != nil {
				t.Fatal(err)
			}
			defer o.Close()
			d, err := ask(t, at)
			counts := o.Counts()
			if err != nil || d.LogIn != onvif.Accepted || counts.Refused > 0 || counts.Clear > 0 {
				t.Fatalf("%v, %s, %+v", err, d.LogIn, counts)
			}
			if d.Manufacturer != "Acme & Söhne" || len(d.Profiles) != 32 {
				t.Errorf("%q with %d profiles", d.Manufacturer, len(d.Profiles))
			}
			want := onvif.Address{Scheme: "rtsp", Port: camsim.DefaultPort, Path: camsim.StreamPath(16, true)}
			if last := d.Profiles[31]; last.Stream != want || last.Source != "VideoSource_16" || last.Codec != "H264" || last.Width != 640 {
				t.Errorf("the last profile is %+v", last)
			}
			snapshot := onvif.Address{Scheme: "http", Port: 8000, Path: "/snapshot?channel=1&size=full"}
			if quirk == camsim.NoSnapshot || quirk == camsim.SnapshotIsRTSP {
				snapshot = onvif.Address{}
			}
			if d.Profiles[0].Snapshot != snapshot {
				t.Errorf("the snapshot is at %+v", d.Profiles[0].Snapshot)
			}
			if off := d.ClockOff - time.Hour; quirk == camsim.ClockAhead && off.Abs() > time.Minute {
				t.Errorf("its clock is %s ahead", d.ClockOff)
			}
		})
	}
}

func TestAsk_wrongPasswordOnce(t *testing.T) {
	t.Parallel()
	for _, quirk := range []camsim.Quirk{"", camsim.DigestOnly} {
		at := netip.AddrPortFrom(camsim.DrawSubnet().Addr().Next(), 8000)
		o, err := camsim.StartONVIF(camsim.ONVIFConfig{Address: at, Username: user, Password: "another", Quirks: []camsim.Quirk{quirk}})
		if err != nil {
			t.Fatal(err)
		}
		d, err := ask(t, at)
		o.Close()
		if c := o.Counts(); !errors.Is(err, onvif.ErrRefused) || d.LogIn != onvif.Refused || c.Refused != 1 || c.Clear > 0 {
			t.Errorf("%q: %v, %s, %+v", quirk, err, d.LogIn, c)
		}
	}
}

// Basic is the password itself, and TLS with any certificate hides it from everybody but the server. So a server that is neither named
// by the user nor has shown to be ONVIF is not told it.
func TestAsk_basicOverTLS(t *testing.T) {
	t.Parallel()
	const envelope = `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>%s</s:Body></s:Envelope>`
	for _, tt := range []struct {
		name               string
		camera, known, nas bool
		offer              string
		told               string
	}{
		{name: "a stranger", offer: `Basic realm="NAS"`},
		{name: "a stranger that speaks SOAP", offer: `Basic realm="NAS"`, nas: true},
		{name: "a stranger that knows digest", offer: `Digest realm="NAS", nonce="1", qop="auth", Basic realm="NAS"`, told: "Digest"},
		{name: "a camera", offer: `Basic realm="camera"`, camera: true, told: "Basic"},
		{name: "a named one", offer: `Basic realm="NAS"`, known: true, told: "Basic"},
	} {
		var told atomic.Pointer[string]
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if given, _, _ := strings.Cut(r.Header.Get("Authorization"), " "); given != "" {
				told.Store(&given)
			}
			if tt.camera && strings.Contains(string(body), "GetSystemDateAndTime") {
				fmt.Fprintf(w, envelope, "<R><UTCDateTime><Time><Hour>1</Hour></Time><Date><Year>2026</Year></Date></UTCDateTime></R>")
				return
			}
			w.Header().Set("WWW-Authenticate", tt.offer)
			w.WriteHeader(http.StatusUnauthorized)
			if tt.nas {
				fmt.Fprintf(w, envelope, "<x/>")
			}
		}))
		at := netip.MustParseAddrPort(server.Listener.Addr().String())
		_, err := onvif.Ask(t.Context(), onvif.Target{Address: at, TLS: true, Known: tt.known, Username: user, Password: password, LogIn: true}, onvif.Limits{Step: 2 * time.Second, Whole: 5 * time.Second})
		server.Close()
		got := ""
		if said := told.Load(); said != nil {
			got = *said
		}
		if got != tt.told || err == nil {
			t.Errorf("%s was told %q, want %q: %v", tt.name, got, tt.told, err)
		}
	}
}

// What a stranger may try to get at the password, at other hosts or at our memory.
func TestAsk_attackers(t *testing.T) {
	t.Parallel()
	trap := newStranger(t, func(string, io.Writer) string { return soap("") })
	elsewhere := "http://" + trap.at.String() + "/onvif/x"
	huge := "HTTP/1.1 200 OK\r\nContent-Type: application/soap+xml\r\nContent-Length: 10737418240\r\n\r\n<s:Envelope><s:Body>"
	flood := func(piece string) func(string, io.Writer) string {
		return func(_ string, conn io.Writer) string {
			_, err := io.WriteString(conn, huge)
			for chunk := strings.Repeat(piece, 1+(64<<10)/len(piece)); err == nil; {
				_, err = io.WriteString(conn, chunk)
			}
			return ""
		}
	}
	challenge := func(header string) func(string, io.Writer) string {
		return func(string, io.Writer) string {
			return "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: " + header + "\r\nContent-Length: 0\r\n\r\n"
		}
	}
	var entities strings.Builder
	entities.WriteString(`<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa">`)
	for c := 'b'; c < 'k'; c++ {
		fmt.Fprintf(&entities, `<!ENTITY %c "%s">`, c, strings.Repeat("&"+string(c-1)+";", 10))
	}
	laughs := entities.String() + `]><s:Envelope xmlns:s="x"><s:Body>&j;</s:Body></s:Envelope>`
	tests := []struct {
		about string
		say   func(body string, conn io.Writer) string
	}{
		{"services at another host", func(body string, _ io.Writer) string {
			if strings.Contains(body, "GetServices") {
				return soap(`<S><Service><Namespace>http://www.onvif.org/ver10/media/wsdl</Namespace><XAddr>` + elsewhere + `</XAddr></Service></S>`)
			}
			return soap(`<Profiles token="p"><VideoEncoderConfiguration/></Profiles><Uri>rtsp://` + trap.at.String() + `/live</Uri>`)
		}},
		{"a redirect to another host", func(string, io.Writer) string {
			return "HTTP/1.1 307 Temporary Redirect\r\nLocation: " + elsewhere + "\r\nContent-Length: 0\r\n\r\n"
		}},
		{"Basic in the clear", challenge(`Basic realm="x"`)},
		{"a challenge that would end the header", challenge(`Digest realm="x\" , nonce=", nonce="n", qop="auth", opaque="o"`)},
		{"a challenge of another server's realm, for ever", challenge(`Digest realm="bank", nonce="n", qop="auth", stale=true`)},
		{"10 GiB of one text", flood("a")},
		{"10 GiB of elements", flood(`<Profiles token="x"/>`)},
		{"10 GiB of depth", flood("<x>")},
		{"10 GiB of attributes", flood(` a="b"`)},
		{"nested entities", func(string, io.Writer) string {
			return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(laughs), laughs)
		}},
		{"headers without end", func(_ string, conn io.Writer) string {
			_, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
			for err == nil {
				_, err = io.WriteString(conn, strings.Repeat("X-Y: z\r\n", 8192))
			}
			return ""
		}},
	}
	for _, tt := range tests {
		t.Run(tt.about, func(t *testing.T) { // one after the other: the memory of each is measured
			s := newStranger(t, tt.say)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			began := time.Now()
			d, err := ask(t, s.at)
			took := time.Since(began)
			runtime.GC()
			runtime.ReadMemStats(&after)
			if took > 30*time.Second { // its own bound is 5 s; the rest is the host's
				t.Errorf("it took %s", took)
			}
			if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
				t.Errorf("%d KiB are held", grown>>10)
			}
			if strings.Contains(*s.seen.Load(), password) || strings.Contains(fmt.Sprint(d, err), password) {
				t.Errorf("the password is told: %v", err)
			}
			if refusals := strings.Count(*s.seen.Load(), "Digest username"); refusals > 2 {
				t.Errorf("%d log-ins", refusals)
			}
		})
	}
	if seen := *trap.seen.Load(); seen != "" {
		t.Errorf("another host was dialled: %s", seen)
	}
}

func TestAsk_cancelled(t *testing.T) {
	t.Parallel()
	s := newStranger(t, func(string, io.Writer) string {
		<-t.Context().Done()
		return ""
	})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := onvif.Ask(ctx, onvif.Target{Address: s.at}, onvif.Limits{Step: time.Hour, Whole: time.Hour}); err == nil {
		t.Error("no error")
	}
}
