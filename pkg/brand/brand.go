// Package brand says what a maker's cameras have in common: paths, ports, limits, log-in habits, and what to know them by.
package brand

import (
	_ "embed" // for the data file
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Source is where a fact is from, and how sure it is: "documented" by the maker or a maintained project, or "reported" by
// people who have such cameras. What is only guessed is not in the file.
type Source struct {
	Certainty string `json:"certainty"`
	Source    string `json:"source"`
}

// Text is a fact in words: a path, a way to log in, a habit.
type Text struct {
	Value string `json:"value"`
	Source
}

// Number is a fact that is a number: a port, a limit.
type Number struct {
	Value int `json:"value"`
	Source
}

// Lockout is how a camera locks out who gives wrong passwords.
type Lockout struct {
	Tries   int `json:"tries"`   // 0: not known
	Seconds int `json:"seconds"` // for how long
	Source
}

// Mark is a text that tells the brand.
type Mark struct {
	Where Where  `json:"where"`
	Text  string `json:"text"`
	Alone bool   `json:"alone"` // it is enough by itself; others say it too, if not
	Source
}

// Remark is something that surprises people, in a sentence.
type Remark struct {
	Text string `json:"text"`
	Source
}

// Where is what part of a camera's answers holds a mark.
type Where string

// The places of marks.
const (
	RTSPServer Where = "rtsp-server" // the header Server of an RTSP answer
	HTTPServer Where = "http-server" // that of an HTTP answer
	Realm      Where = "realm"       // of a challenge, over either
	SDP        Where = "sdp"         // a line of a session description
)

// Habit is something that a brand does and that changes what we do.
type Habit string

// The habits. Each is in the data file with its source.
const (
	FullIs401          Habit = "full-is-401"             // a 401 may mean that all users are logged in
	FullIs403          Habit = "full-is-403"             // so may a 403 to DESCRIBE
	BusyIs503          Habit = "busy-is-503"             // a picture is being taken; ask again
	NonceOnce          Habit = "nonce-once"              // each digest nonce is accepted once
	RefusalIs200       Habit = "refusal-is-200"          // a refused log-in is status 200 with JSON
	TokenLogOut        Habit = "token-log-out"           // tokens that are not logged out fill the table and starve RTSP
	StaleSession       Habit = "stale-session-65s"       // a session without TEARDOWN lives on, and its packets reach others
	OneSnapshot        Habit = "snapshots-one-at-a-time" // a second picture at the same time is refused
	LockedUntilRestart Habit = "locked-until-restart"    // wrong log-ins lock the camera until it restarts
	UDPInAnswerToTCP   Habit = "tcp-answered-with-udp"   // SETUP is answered with another transport than data flows by
)

// Brand is one maker, or one firmware that many makers use.
type Brand struct {
	ID      string   `json:"id"` // what `brand:` says
	Name    string   `json:"name"`
	Aliases []string `json:"aliases"` // other names, and how models begin

	RTSP struct {
		Port   *Number `json:"port"`
		Main   *Text   `json:"main"`
		Sub    *Text   `json:"sub"`
		Others []Text  `json:"others"` // main streams of older or newer ones
	} `json:"rtsp"`
	Snapshot struct {
		Path *Text   `json:"path"`
		Port *Number `json:"port"`
		Auth *Text   `json:"auth"` // digest, basic, query or none
	} `json:"snapshot"`
	Limit   *Number  `json:"limit"` // how many connections the address allows, all clients together
	ONVIF   *Number  `json:"onvif"` // its port
	LogIn   *Text    `json:"log_in"`
	Lockout *Lockout `json:"lockout"`
	Habits  []Text   `json:"habits"`
	Marks   []Mark   `json:"marks"`
	Notes   []Remark `json:"notes"`
}

//go:embed brands.json
var data []byte

// read are the brands, once one has been asked for: most commands need none, and nothing is set up before main.
var read struct {
	once   sync.Once
	brands []Brand
}

func all() []Brand {
	read.once.Do(func() {
		if err := json.Unmarshal(data, &read.brands); err != nil {
			panic(fmt.Sprintf("the brands that are built in cannot be read: %v", err)) // a test reads them
		}
	})
	return read.brands
}

// All returns the brands in the order of the data file.
func All() []Brand { return slices.Clone(all()) }

// IDs returns what `brand:` may say.
func IDs() []string {
	var ids []string
	for _, b := range all() {
		ids = append(ids, b.ID)
	}
	return ids
}

// Get returns the brand of that id.
func Get(id string) (Brand, bool) {
	for _, b := range all() {
		if b.ID == id {
			return b, true
		}
	}
	return Brand{}, false
}

// Of returns the brand that a model, or a maker's own name, begins with: "Tapo C110", "HIKVISION", "DS-2CD2143". The longest
// name counts, so that a line of products comes before its maker.
func Of(model string) (Brand, bool) {
	var best Brand
	longest := 0
	for _, b := range all() {
		for _, name := range append([]string{b.ID, b.Name}, b.Aliases...) {
			if len(name) > longest && startsWith(model, name) {
				best, longest = b, len(name)
			}
		}
	}
	return best, longest > 0
}

// startsWith reports whether a text begins with a name, in any case, as a word of its own; a name that is the beginning of
// model numbers may go on.
func startsWith(text, name string) bool {
	text = strings.TrimSpace(text)
	if len(text) < len(name) || !strings.EqualFold(text[:len(name)], name) {
		return false
	}
	rest := text[len(name):]
	if rest == "" || strings.ContainsAny(name, "-0123456789") {
		return true
	}
	next := rest[0] | 0x20
	return next < 'a' || next > 'z'
}

// Recognise returns the brand whose mark is in one of the texts from that place: the value of a header, a realm, an SDP.
func Recognise(where Where, text string) (Brand, bool) {
	for _, b := range all() {
		for _, m := range b.Marks {
			if m.Where == where && m.Alone && strings.Contains(strings.ToLower(text), strings.ToLower(m.Text)) {
				return b, true
			}
		}
	}
	return Brand{}, false
}

// Path returns the path of the main stream, or of the smaller one, for a channel counted from 1; "" where none is known.
func (b Brand) Path(sub bool, channel int) string {
	from := b.RTSP.Main
	if sub {
		from = b.RTSP.Sub
	}
	if from == nil {
		return ""
	}
	return fill(from.Value, channel)
}

// Paths returns every known path of the main stream, the usual one first.
func (b Brand) Paths(channel int) []string {
	var paths []string
	if main := b.Path(false, channel); main != "" {
		paths = append(paths, main)
	}
	for _, other := range b.RTSP.Others {
		paths = append(paths, fill(other.Value, channel))
	}
	return paths
}

// SnapshotPath returns the path of the brand's JPEG, with {username}, {password} and {random} still to be filled in where it
// has them; "" where none is known.
func (b Brand) SnapshotPath(channel int) string {
	if b.Snapshot.Path == nil {
		return ""
	}
	return fill(b.Snapshot.Path.Value, channel)
}

// SnapshotURL returns where the brand's JPEG is, as `snapshot:` of the configuration says it: the path, or a URL where its port is
// another than that of HTTP; "" where none is known.
func (b Brand) SnapshotURL(channel int) string {
	path := b.SnapshotPath(channel)
	if path == "" || b.Snapshot.Port == nil || b.Snapshot.Port.Value == 80 {
		return path
	}
	return "http://{host}:" + strconv.Itoa(b.Snapshot.Port.Value) + path
}

// fill puts a channel, counted from 1, into a path: {channel}, with two or three digits {channel2} and {channel3}, counted from
// 0 {channel0}.
func fill(path string, channel int) string {
	return strings.NewReplacer(
		"{channel}", strconv.Itoa(channel), "{channel0}", strconv.Itoa(channel-1),
		"{channel2}", fmt.Sprintf("%02d", channel), "{channel3}", fmt.Sprintf("%03d", channel),
	).Replace(path)
}

// Has reports whether the brand has a habit.
func (b Brand) Has(h Habit) bool {
	return slices.ContainsFunc(b.Habits, func(t Text) bool { return t.Value == string(h) })
}
