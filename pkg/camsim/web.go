package camsim

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"
)

// DefaultWebPort is where the cameras that give pictures over HTTP do so, unless told otherwise.
const DefaultWebPort = 8080

// WebPath is the path of these pictures.
const WebPath = "/snapshot.jpg"

// Habit is how a camera gives its own picture over HTTP.
type Habit string

// The habits. What each does is one sentence in the table below.
const (
	WebOpen       Habit = "open"
	WebDigest     Habit = "digest"
	WebSession    Habit = "digest-sess"
	WebSHA256     Habit = "sha-256"
	WebBasic      Habit = "basic"
	WebLocks      Habit = "locks"
	WebSingle     Habit = "single"
	WebJSON       Habit = "json"
	WebPage       Habit = "html"
	WebEmpty      Habit = "empty"
	WebBusy       Habit = "busy"
	WebStream     Habit = "stream"
	WebCut        Habit = "cut"
	WebEndless    Habit = "endless"
	WebSlow       Habit = "slow"
	WebFrozen     Habit = "frozen"
	WebToTLS      Habit = "to-tls"
	WebSelfSigned Habit = "self-signed"
)

// habit is one row of the table.
type habit struct {
	habit    Habit
	sentence string
	login    bool // it asks for one
	tls      bool
}

func habits() []habit {
	return []habit{
		{WebOpen, "gives a picture to everybody", false, false},
		{WebDigest, "wants digest (MD5)", true, false},
		{WebSession, "wants digest (MD5-sess)", true, false},
		{WebSHA256, "wants digest (SHA-256)", true, false},
		{WebBasic, "knows only Basic, in the clear", true, false},
		{WebLocks, "wants digest, and after three wrong log-ins refuses the right one too", true, false},
		{WebSingle, "answers a second connection by 503", false, false},
		{WebJSON, "wants user and password in the query, and says no in JSON with status 200 (Reolink)", true, false},
		{WebPage, "sends its log-in page in place of a picture, with status 200", false, false},
		{WebEmpty, "answers 200 with nothing", false, false},
		{WebBusy, "is busy (503)", false, false},
		{WebStream, "sends pictures without end (multipart/x-mixed-replace)", false, false},
		{WebCut, "sends the first half of its picture", false, false},
		{WebEndless, "sends a picture that does not end", false, false},
		{WebSlow, "takes three seconds", false, false},
		{WebFrozen, "sends the same picture again and again", false, false},
		{WebToTLS, "redirects to https", false, false},
		{WebSelfSigned, "speaks TLS with a certificate of its own, and wants Basic", true, true},
	}
}

// Habits returns all habits.
func Habits() []Habit {
	var all []Habit
	for _, row := range habits() {
		all = append(all, row.habit)
	}
	return all
}

// Sentence says what a camera of this habit does; "" for an unknown one.
func (h Habit) Sentence() string { return h.row().sentence }

func (h Habit) row() habit {
	rows := habits()
	if i := slices.IndexFunc(rows, func(row habit) bool { return row.habit == h }); i >= 0 {
		return rows[i]
	}
	return habit{}
}

// WebCounts is what the HTTP side of a camera has seen.
type WebCounts struct {
	Connections      int `json:"connections"`       // open now
	ConnectionsMost  int `json:"connections_most"`  // open at once, at most
	ConnectionsTotal int `json:"connections_total"` // accepted ever
	Requests         int `json:"requests"`
	Pictures         int `json:"pictures"`      // given out, or begun
	Logins           int `json:"logins"`        // requests whose credentials were accepted
	LoginsFailed     int `json:"logins_failed"` // refused
	InClear          int `json:"in_clear"`      // requests that held the password readable for all
}

// web is the HTTP side of a camera.
type web struct {
	camera *Camera
	habit  habit
	server *http.Server
	at     netip.AddrPort
	still  []byte // its picture

	mu     sync.Mutex
	counts WebCounts
	open   map[net.Conn]bool
	nonces map[string]bool
	given  uint32
	ctx    context.Context
	stop   context.CancelFunc
	ended  chan struct{}
}

// openWeb starts the HTTP side of a camera, if it has one.
func (c *Camera) openWeb() error {
	if c.config.Web == "" {
		return nil
	}
	w := &web{camera: c, habit: c.config.Web.row(), open: map[net.Conn]bool{}, nonces: map[string]bool{}, ended: make(chan struct{})}
	switch {
	case w.habit.sentence == "":
		return fmt.Errorf("unknown habit %q", c.config.Web)
	case w.habit.login && c.config.Username == "":
		return fmt.Errorf("habit %s needs a user name", c.config.Web)
	}
	var err error
	if w.still = []byte(c.config.Still); len(w.still) == 0 {
		if w.still, err = scene(c.config.Picture); err != nil {
			return err
		}
	}
	port := c.config.WebPort
	if port == 0 {
		port = DefaultWebPort
	}
	listener, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.config.Address.Addr(), port)))
	if err != nil {
		return err
	}
	if w.at, err = netip.ParseAddrPort(listener.Addr().String()); err != nil {
		_ = listener.Close()
		return err
	}
	w.ctx, w.stop = context.WithCancel(context.Background())
	w.server = &http.Server{Handler: w, ConnState: w.count, ReadHeaderTimeout: time.Minute}
	var over net.Listener = listener
	if w.habit.tls {
		secure, _, err := certify(w.at.Addr())
		if err != nil {
			_ = listener.Close()
			return err
		}
		over = tls.NewListener(listener, secure)
	}
	go func() {
		defer close(w.ended)
		_ = w.server.Serve(over) // ends with Close
	}()
	c.web = w
	return nil
}

func (w *web) close() {
	if w == nil {
		return
	}
	w.stop()
	_ = w.server.Close()
	<-w.ended
}

// WebURL returns where the camera gives its own picture; "" where it does not.
func (c *Camera) WebURL() string {
	switch {
	case c.web == nil:
		return ""
	case c.web.habit.tls:
		return "https://" + c.web.at.String() + WebPath
	}
	return "http://" + c.web.at.String() + WebPath
}

// WebAddress returns where the HTTP side listens; the zero AddrPort where there is none.
func (c *Camera) WebAddress() netip.AddrPort {
	if c.web == nil {
		return netip.AddrPort{}
	}
	return c.web.at
}

// WebCounts returns what has happened at the HTTP side so far.
func (c *Camera) WebCounts() WebCounts {
	if c.web == nil {
		return WebCounts{}
	}
	c.web.mu.Lock()
	defer c.web.mu.Unlock()
	return c.web.counts
}

func (w *web) add(change func(*WebCounts)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.counts)
}

func (w *web) count(conn net.Conn, state http.ConnState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch state {
	case http.StateNew:
		w.open[conn] = true
		w.counts.ConnectionsTotal++
	case http.StateClosed, http.StateHijacked:
		delete(w.open, conn)
	}
	atOnce := 0
	for each := range w.open {
		if each == conn || establishedConn(each) {
			atOnce++
		}
	}
	w.counts.Connections = len(w.open)
	w.counts.ConnectionsMost = max(w.counts.ConnectionsMost, atOnce)
}

func establishedConn(conn net.Conn) bool {
	return (&countedConn{Conn: conn}).established()
}

// ServeHTTP answers as the habit says.
func (w *web) ServeHTTP(out http.ResponseWriter, request *http.Request) {
	w.add(func(c *WebCounts) { c.Requests++ })
	if request.URL.Path != WebPath {
		http.NotFound(out, request)
		return
	}
	if w.habit.habit == WebSingle && w.crowded() {
		http.Error(out, "one at a time", http.StatusServiceUnavailable)
		return
	}
	if w.habit.login && !w.admit(out, request) {
		return
	}
	switch w.habit.habit {
	case WebPage:
		out.Header().Set("Content-Type", "text/html")
		_, _ = out.Write([]byte("<html><body><form action=/login>User <input name=user> Password <input name=password></form></body></html>"))
	case WebEmpty:
		out.Header().Set("Content-Length", "0")
	case WebBusy:
		http.Error(out, "busy", http.StatusServiceUnavailable)
	case WebToTLS:
		http.Redirect(out, request, "https://"+w.at.Addr().String()+WebPath, http.StatusMovedPermanently)
	case WebStream:
		w.stream(out)
	case WebCut:
		picture := w.picture()
		_, _ = out.Write(picture[:len(picture)/2])
	case WebEndless:
		w.endless(out)
	case WebSlow:
		if w.wait(3 * time.Second) {
			w.give(out)
		}
	default:
		w.give(out)
	}
}

// crowded reports whether another connection stands beside the one that is being answered.
func (w *web) crowded() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	standing := 0
	for each := range w.open {
		if establishedConn(each) {
			standing++
		}
	}
	return standing > 1
}

// picture is the camera's picture now: no two are the same, unless it is frozen.
func (w *web) picture() []byte {
	w.mu.Lock()
	w.counts.Pictures++
	if w.habit.habit != WebFrozen {
		w.given++
	}
	number := w.given
	w.mu.Unlock()
	remark := binary.BigEndian.AppendUint32([]byte{0xff, 0xfe, 0, 6}, number)
	return append(append(bytes.Clone(w.still[:2]), remark...), w.still[2:]...)
}

func (w *web) give(out http.ResponseWriter) {
	picture := w.picture()
	out.Header().Set("Content-Type", "image/jpeg")
	out.Header().Set("Content-Length", strconv.Itoa(len(picture)))
	_, _ = out.Write(picture)
}

func (w *web) stream(out http.ResponseWriter) {
	out.Header().Set("Content-Type", "multipart/x-mixed-replace; boundary=frame")
	for {
		picture := w.picture()
		_, err := fmt.Fprintf(out, "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n", len(picture), picture)
		if err == nil {
			err = http.NewResponseController(out).Flush()
		}
		if err != nil || !w.wait(100*time.Millisecond) {
			return
		}
	}
}

func (w *web) endless(out http.ResponseWriter) {
	picture := w.picture()
	_, err := out.Write(picture[:len(picture)/2])
	for zeros := make([]byte, 64<<10); err == nil && w.ctx.Err() == nil; {
		_, err = out.Write(zeros)
	}
}

func (w *web) wait(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-w.ctx.Done():
		return false
	}
}

// scene is a small picture with a bar on top whose colour is that of the film's picture of the number.
func scene(number int) ([]byte, error) {
	bars := []color.RGBA{{255, 0, 0, 255}, {0, 255, 0, 255}, {0, 0, 255, 255}, {255, 255, 0, 255}}
	img := image.NewRGBA(image.Rect(0, 0, 640, 360))
	for y := range 360 {
		for x := range 640 {
			if y < 60 {
				img.SetRGBA(x, y, bars[number%len(bars)])
			} else {
				img.SetRGBA(x, y, color.RGBA{uint8(x * y >> 3), uint8(x ^ y), uint8(x + 2*y), 255})
			}
		}
	}
	var out bytes.Buffer
	err := jpeg.Encode(&out, img, &jpeg.Options{Quality: 80})
	return out.Bytes(), err
}
