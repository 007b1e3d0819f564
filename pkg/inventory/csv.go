package inventory

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/redact"
)

// columns returns the words that columns are called by, in small letters and without anything but letters and digits.
// Those that begin with hardware are Milestone's.
func columns() map[string][]string {
	return map[string][]string{
		"name":     {"name", "camera", "cameraname", "id", "kamera", "kameraname", "bezeichnung", "title", "label", "displayname", "devicename", "nom", "nombre", "hardwarename", "channelname"},
		"host":     {"ip", "ipaddress", "ipadresse", "ipaddr", "adresse", "address", "adresseip", "host", "hostname", "direccionip", "hardwareaddress", "ipv4", "ipv4address", "deviceip"},
		"port":     {"port", "rtspport", "hardwareport"},
		"username": {"username", "user", "login", "benutzer", "benutzername", "utilisateur", "usuario", "hardwareusername", "loginname"},
		"password": {"password", "pass", "pwd", "passwd", "kennwort", "passwort", "motdepasse", "contrasena", "contraseña", "hardwarepassword"},
		"path":     {"path", "pfad", "rtsppath", "streampath", "chemin", "mainpath"},
		"subpath":  {"subpath"},
		"url":      {"url", "rtsp", "rtspurl", "streamurl", "mainurl", "mainstream", "stream", "uri", "rtspuri", "address1"},
		"suburl":   {"suburl", "substream", "substreamurl", "rtspsuburl", "sub"},
		"snapshot": {"snapshot", "snapshoturl", "snapshoturi", "jpegurl"},
		"model":    {"model", "modell", "modele", "modèle", "modelo", "typ", "type"},
		"limit":    {"maxconnections", "maxconnection", "limit"},
		"enabled":  {"enabled", "enable", "active", "aktiv", "actif", "activo", "hardwareenabled"},
		"ignored":  {"hardwaredriverid", "hardwaremacaddress", "hardwareserialnumber"},
	}
}

// webPorts are those of web pages, ONVIF and makers' own protocols, which sheets hold more often than the one of RTSP.
func webPorts() []uint16 { return []uint16{80, 81, 443, 8000, 8080, 8443, 34567, 37777} }

// header returns the first line of a table that names a known column of an address, and what parts its columns.
func header(text []byte) (line int, comma rune, ok bool) {
	n := 0
	for raw := range bytes.Lines(text) {
		n++
		one := strings.TrimSpace(strings.TrimPrefix(string(raw), "\ufeff"))
		if one == "" || strings.HasPrefix(one, "#") {
			continue
		}
		if n > 50 {
			return 0, 0, false
		}
		for _, c := range []rune{',', ';', '\t', '|'} {
			if strings.Count(one, string(c)) > strings.Count(one, string(comma)) || comma == 0 && strings.ContainsRune(one, c) {
				comma = c
			}
		}
		if comma == 0 {
			comma = ','
		}
		known := 0
		for cell := range strings.SplitSeq(string(raw), string(comma)) {
			if key := columnOf(cell); key == "host" || key == "url" {
				known++
			}
		}
		if known > 0 {
			return n, comma, true
		}
		comma = 0
	}
	return 0, 0, false
}

func columnOf(cell string) string {
	word := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, cell)
	for key, words := range columns() {
		if slices.Contains(words, word) {
			return key
		}
	}
	return ""
}

// readCSV reads a table with one camera a line below a line of headings.
func (b *builder) readCSV(path string, text []byte) error {
	first, comma, ok := header(text)
	if !ok {
		return fault.New(fault.Usage, "", "%s has no line of headings with a column for addresses, like ip, host or url", path).
			WithHint("give it one: name,ip,port,username,password,path")
	}
	rows, lines, err := readAll(newTable(text, comma, false))
	lazy := err != nil
	if lazy { // a quote in the middle of a cell, as formulas have them
		rows, lines, err = readAll(newTable(text, comma, true))
	}
	if err != nil {
		var at *csv.ParseError
		line := 1
		if errors.As(err, &at) {
			line = at.StartLine
		}
		return fault.New(fault.Usage, "", "%s:%d: not readable as CSV", path, line).WithHint("nothing was imported: a quote may be missing")
	}
	t := table{b: b, at: map[string]int{}}
	for i, row := range rows {
		switch {
		case lines[i] < first:
		case lines[i] == first:
			t.headings(row, first)
		case strings.HasPrefix(row[0], "#") && strings.Join(row[1:], "") == "":
		case strings.TrimSpace(strings.Join(row, "")) == "":
		default:
			if lazy && slices.ContainsFunc(row, func(cell string) bool { return strings.ContainsAny(cell, "\r\n") }) {
				b.report(lines[i], t.cell(row, "name"), Partly, "the record is several lines long: a quote may be missing in it")
			}
			t.row(row, lines[i])
		}
	}
	if len(rows) == 0 {
		return fault.New(fault.Usage, "", "%s holds no table", path)
	}
	return nil
}

func newTable(text []byte, comma rune, lazy bool) *csv.Reader {
	r := csv.NewReader(bytes.NewReader(text))
	r.Comma, r.LazyQuotes, r.FieldsPerRecord = comma, lazy, -1
	return r
}

func readAll(r *csv.Reader) (rows [][]string, lines []int, err error) {
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return rows, lines, nil
		}
		if err != nil {
			return nil, nil, err
		}
		line, _ := r.FieldPos(0)
		rows, lines = append(rows, row), append(lines, line)
	}
}

// table is a CSV file whose headings are known.
type table struct {
	b  *builder
	at map[string]int // the column of each key
}

func (t table) headings(row []string, line int) {
	for i, cell := range row {
		key := columnOf(strings.TrimPrefix(cell, "\ufeff"))
		name := strings.TrimSpace(cell)
		_, twice := t.at[key]
		switch {
		case name == "" || key == "ignored":
		case key == "":
			t.b.report(line, name, Note, "an unknown column, not read")
		case twice:
			t.b.report(line, name, Note, "a second column for the same, not read")
		default:
			t.at[key] = i
		}
	}
}

// raw returns a cell as it is, "" where the row or the table has none.
func (t table) raw(row []string, key string) string {
	i, ok := t.at[key]
	if !ok || i >= len(row) {
		return ""
	}
	return row[i]
}

func (t table) cell(row []string, key string) string { return strings.TrimSpace(t.raw(row, key)) }

func (t table) row(row []string, line int) {
	name := t.cell(row, "name")
	about := name
	if about == "" {
		about = "line " + itoa(line)
	}
	c := candidate{name: name, line: line, model: t.cell(row, "model")}
	if slices.Contains([]string{"no", "nein", "non", "false", "0", "off", "inactive", "inaktiv", "disabled", "n"}, strings.ToLower(t.cell(row, "enabled"))) {
		t.b.report(line, about, Note, "it is disabled, and left away")
		return
	}
	e, why := t.endpoint(row, line, about, &c)
	if why != "" {
		t.b.report(line, about, LeftOut, "%s", why)
		return
	}
	if user := t.cell(row, "username"); user != "" {
		e.user = user
	}
	if password := t.raw(row, "password"); password != "" && e.user != "" {
		e.password = password
	} else if password != "" {
		t.b.report(line, about, Partly, "a password without a user name is not taken")
	}
	if _, err := camera.PlainSecret(e.password).Reveal(); err != nil || strings.ContainsFunc(e.user, unicode.IsControl) {
		t.b.report(line, about, LeftOut, "its log-in holds a line break, which no protocol can carry")
		return
	}
	if placeholder.Get().MatchString(e.password) || strings.Trim(e.password, "*•") == "" && e.password != "" {
		t.b.report(line, about, Partly, "its password is masked or a placeholder; the log-in is not taken")
		e.user, e.password = "", ""
	}
	e.line = line
	c.main = e
	if limit := t.cell(row, "limit"); limit != "" {
		n, err := strconv.Atoi(limit)
		if err != nil || n < 1 || n > 1000 {
			t.b.report(line, about, Partly, "max_connections is not a number from 1 to 1000")
		} else {
			c.limit, c.limitLine = n, line
		}
	}
	t.sub(row, &c, about)
	t.snapshot(row, &c, about)
	if c.name == "" {
		c.name = e.host
	}
	t.b.add(c)
}

// endpoint reads the address of a row: a URL, else host, port and path.
func (t table) endpoint(row []string, line int, about string, c *candidate) (e endpoint, why string) {
	if address := t.cell(row, "url"); address != "" {
		if !isRTSP(address) {
			return e, foreign(address)
		}
		if strings.Contains(address, "#") {
			return e, "a # in an address has to be %23"
		}
		return readAddress(address, spelling{tlsPort: camera.DefaultTLSPort})
	}
	host, port := hostCell(t.cell(row, "host"))
	switch {
	case host == "" && t.cell(row, "snapshot") != "":
		return e, "it has only an address of single pictures, no RTSP; that can be the snapshot of a camera, by hand"
	case host == "":
		return e, "it has no address"
	case isRTSP(host):
		return readAddress(host, spelling{tlsPort: camera.DefaultTLSPort})
	}
	name, _, err := camera.ParseHost(host)
	if err != nil {
		return e, "its address is neither an IP address nor a host name"
	}
	e.scheme, e.host, e.port = "rtsp", name, camera.DefaultPort
	if text := t.cell(row, "port"); text != "" {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return e, "its port is not a number from 1 to 65535"
		}
		port = uint16(n)
	}
	switch {
	case slices.Contains(webPorts(), port):
		t.b.report(line, about, Partly, "%d is a port of web pages, ONVIF or a maker's own protocol: RTSP's 554 is taken in its place", port)
	case port != 0:
		e.port = port
	}
	path := t.cell(row, "path")
	if path == "" {
		c.noPath = true
		t.b.report(line, about, Partly, "the file says no path: camwarden's default (%s) is taken", camera.DefaultPath)
		e.path = camera.DefaultPath
		return e, ""
	}
	if e.path, err = camera.CleanPath(path); err != nil {
		return e, "it " + err.Error()
	}
	return e, ""
}

// hostCell parts a host from what sheets write round it: the web address of Milestone, whose port is not RTSP's, and a port.
func hostCell(host string) (string, uint16) {
	if isRTSP(host) {
		return host, 0
	}
	web := false
	for _, scheme := range []string{"http://", "https://"} {
		if rest, ok := cutPrefixFold(host, scheme); ok {
			host, _, _ = strings.Cut(rest, "/")
			web = true
		}
	}
	name, after, ok := strings.Cut(host, ":")
	n, err := strconv.ParseUint(after, 10, 16)
	switch {
	case !ok || err != nil || n == 0:
		return host, 0
	case web:
		return name, 0
	default:
		return name, uint16(n)
	}
}

// sub takes the smaller stream, if it is one of the same camera.
func (t table) sub(row []string, c *candidate, about string) {
	if path := t.cell(row, "subpath"); path != "" {
		clean, err := camera.CleanPath(path)
		if err != nil {
			t.b.report(c.line, about, Partly, "the path of its smaller stream is not taken: it %v", err)
			return
		}
		e := c.main
		e.path, e.said = clean, nil
		c.sub = &e
		return
	}
	address := t.cell(row, "suburl")
	if address == "" {
		return
	}
	if !isRTSP(address) {
		t.b.report(c.line, about, Partly, "its smaller stream is not taken: %s", foreign(address))
		return
	}
	e, why := readAddress(address, spelling{tlsPort: camera.DefaultTLSPort})
	if why == "" && (e.address() != c.main.address() || e.scheme != c.main.scheme || e.user != "" && !e.sameLogin(c.main)) {
		why = "it has another address or log-in"
	}
	if why != "" {
		t.b.report(c.line, about, Partly, "its smaller stream is not taken: %s", why)
		return
	}
	e.said = nil
	c.sub = &e
}

// snapshot takes the address of the camera's own picture. A log-in in it must be the camera's, which is used for it anyway.
func (t table) snapshot(row []string, c *candidate, about string) {
	text := t.cell(row, "snapshot")
	if text == "" {
		return
	}
	scheme, rest, ok := strings.Cut(text, "://")
	head, path := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		head, path = rest[:i], rest[i:]
	}
	host := head[strings.LastIndexByte(head, '@')+1:]
	if login, has := strings.CutSuffix(head, "@"+host); has && ok {
		user, password, _ := strings.Cut(login, ":")
		if plain, err := url.PathUnescape(password); err == nil {
			password = plain
		}
		if user != c.main.user || password != c.main.password {
			t.b.report(c.line, about, Partly, "its snapshot has another log-in than its stream, and is not taken")
			return
		}
	}
	bare := scheme + "://" + host + path
	if !ok {
		bare = text
	}
	if err := camera.CheckSnapshot(bare); err != nil || !ok || redact.String(bare) != bare {
		t.b.report(c.line, about, Partly, "its snapshot is not taken: it is no http:// URL, or holds a password")
		return
	}
	c.snap = bare
}
