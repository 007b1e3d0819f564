package inventory

import (
	"net/netip"
	"strings"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/lazyre"
)

// endpoint is one RTSP address of the file.
type endpoint struct {
	scheme, host   string
	port           uint16
	path           string
	user, password string
	env            string // the variable that is the whole password and is not set
	udp            bool
	line           int
	said           []remark
}

// remark is what there is to say about an endpoint that can be used.
type remark struct {
	kind Kind
	why  string
}

// stream is what two endpoints share that show the same picture.
func (e endpoint) stream() string {
	host := strings.ToLower(strings.TrimSuffix(e.host, "."))
	if addr, err := netip.ParseAddr(host); err == nil {
		host = addr.Unmap().String()
	}
	return e.scheme + " " + host + " " + itoa(int(e.port)) + " " + e.path
}

// address is where the endpoint's slots are counted.
func (e endpoint) address() string {
	e.scheme, e.path = "", ""
	return e.stream()
}

func (e endpoint) sameLogin(other endpoint) bool {
	return e.user == other.user && e.password == other.password && e.env == other.env
}

// spelling is how a program writes passwords and ports.
type spelling struct {
	literal bool   // from the first ":" to the last "@", not percent-encoded, if the user name is a plain one
	encoded bool   // a variable would hold the password percent-encoded
	tlsPort uint16 // that rtsps means
	strict  bool   // the program that reads it refuses what is not a URL
}

var (
	// literalLogin is what Frigate from 0.12 on encodes by itself (frigate/const.py, frigate/util/builtin.py).
	literalLogin = lazyre.New(`^([A-Za-z0-9_-]+):(\S+)@`)
	escapeSeq    = lazyre.New(`%[0-9A-Fa-f]{2}`)
	placeholder  = lazyre.New(`^(__[A-Za-z0-9_]+__|<.*>|\[.*\]|%[A-Z_]+%)$`)
)

// readAddress reads an rtsp, rtsps or rtspx URL, whose variables have been replaced. why says, without quoting anything,
// what keeps it from being used.
func readAddress(raw string, as spelling) (e endpoint, why string) {
	text := strings.TrimSpace(raw)
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		if strings.Contains(text, ":/") {
			return e, "there is one slash after the scheme, where two belong"
		}
		return e, "it has no scheme"
	}
	e.scheme = "rtsp"
	if !strings.EqualFold(scheme, "rtsp") {
		e.scheme = "rtsps"
	}
	if isRTSP(rest) {
		return e, "it has its scheme twice"
	}
	login := camera.Camera{}
	literal := false
	if found := literalLogin.Get().FindStringSubmatch(rest); as.literal && found != nil {
		literal = true
		login.Username, login.Password = found[1], camera.PlainSecret(found[2])
		rest = rest[len(found[0]):]
		rest, _, _ = strings.Cut(rest, "#")
	}
	c, err := camera.ParseURL("rtsp://"+rest, camera.Camera{})
	if err != nil {
		if name := unset(rest); name != "" {
			return e, name + " is not set here, and stands for more than the password"
		}
		return e, "its address " + strings.TrimPrefix(fault.From(err, fault.Usage, "").Message, "the rtsp URL ")
	}
	if !literal {
		login = c
	}
	e.host, e.port, e.path, e.user = c.Host, c.Port, c.Path, login.Username
	if e.scheme == "rtsps" && !portSaid(rest, c) {
		e.port = as.tlsPort
	}
	if e.password, err = login.Password.Reveal(); err != nil {
		return e, fault.From(err, fault.Usage, "").Message
	}
	return e, e.check(rest, literal, as)
}

// check judges what was read.
func (e *endpoint) check(rest string, literal bool, as spelling) (why string) {
	if e.user == "*" || e.password == "*" {
		e.user, e.password = "", ""
		e.said = append(e.said, remark{Partly, "its log-in is masked with asterisks, and not taken"})
		return ""
	}
	if placeholder.Get().MatchString(e.password) || placeholder.Get().MatchString(e.user) {
		return "its log-in is a placeholder, which somebody was to replace"
	}
	if anyBrace.Get().MatchString(e.password) && strings.Contains(e.password, "FRIGATE_") {
		return "{FRIGATE_...} is replaced by Frigate only"
	}
	if found := whole.Get().FindStringSubmatch(e.password); found != nil && e.user != "" {
		e.env, e.password = found[1], ""
		if as.encoded {
			e.said = append(e.said, remark{Partly, e.env + " is not set here; camwarden will want the plain password in it, where this program has it percent-encoded"})
		}
	}
	for _, part := range []string{e.user, e.password, e.host, e.path} {
		if name := unset(part); name != "" {
			return name + " is not set here, and stands for more than the password"
		}
	}
	if name := unset(strings.ReplaceAll(e.path, "%EE%80%80", markBegin)); name != "" { // as CleanPath writes the mark
		return "a variable in its path is not set here"
	}
	switch at := strings.LastIndexByte(rest, '@'); {
	case literal && escapeSeq.Get().MatchString(e.password):
		e.said = append(e.said, remark{Note, "its password holds % and two digits, and is taken as it stands, as Frigate takes it since 0.12"})
	case !literal && as.strict && at > 0 && loneEscape(rest[:at]):
		e.said = append(e.said, remark{Note, "a % in its log-in should be %25; taken as it stands"})
	}
	return ""
}

// portSaid reports whether the URL itself names the port.
func portSaid(rest string, c camera.Camera) bool {
	other, err := camera.ParseURL("rtsps://"+rest, camera.Camera{})
	return err == nil && other.Port == c.Port
}

// loneEscape reports whether a percent sign stands before something other than two hex digits.
func loneEscape(text string) bool {
	return strings.Contains(escapeSeq.Get().ReplaceAllString(text, ""), "%")
}

// isRTSP reports whether a text begins with a scheme of RTSP.
func isRTSP(text string) bool {
	scheme, _, ok := strings.Cut(strings.ToLower(strings.TrimSpace(text)), ":")
	return ok && (scheme == "rtsp" || scheme == "rtsps" || scheme == "rtspx")
}
