package camsim

import (
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/auth"
)

// Temper is how a camera treats its clients.
type Temper string

// The tempers. What each does is one sentence in the table below; Temper.Sentence returns it.
const (
	Healthy        Temper = "healthy"
	Digest         Temper = "digest"
	Basic          Temper = "basic"
	Slow           Temper = "slow"
	LongGOP        Temper = "long-gop"
	LateKeyFrame   Temper = "late-key-frame"
	LimitedSlots   Temper = "slots"
	LingeringSlots Temper = "lingering-slots"

	Refuses         Temper = "refuses"
	DropsSYN        Temper = "drops-syn"
	ClosesAtConnect Temper = "closes-at-connect"
	MuteAtConnect   Temper = "mute"
	MuteAtOptions   Temper = "mute-at-options"
	MuteAtDescribe  Temper = "mute-at-describe"
	MuteAtSetup     Temper = "mute-after-describe"
	MuteAtPlay      Temper = "mute-at-play"
	ClosesAtPlay    Temper = "closes-at-play"
	ResetsAtPlay    Temper = "resets-at-play"
	SilentAfterPlay Temper = "silent-after-play"
	RTCPOnly        Temper = "rtcp-only"
	ResetsMidFrame  Temper = "resets-mid-frame"

	WrongPassword  Temper = "wrong-password"
	NotFound       Temper = "not-found"
	BusyAtSetup    Temper = "busy-at-setup"
	Unavailable    Temper = "unavailable"
	Redirects      Temper = "redirects"
	GarbageMedia   Temper = "garbage-media"
	GarbageAnswers Temper = "garbage-answers"
)

// behaviour is one row of the table: what a temper is, and how it comes to life.
type behaviour struct {
	temper   Temper
	sentence string
	open     opener
	defaults Config // Delay, GOP, Slots and Linger where the configuration leaves them zero
	login    bool   // makes no sense without credentials
	units    bool   // makes no sense without NAL units
}

// opener takes the address of a camera, settles it and lets clients in. It returns what ends all that;
// goroutines of the camera's group need not have ended when that returns.
type opener func(*Camera) (shutdown func(), err error)

// behaviours is the table of tempers: first those that give a picture, then those that never answer well, in the order
// of the conversation, then those that answer badly.
func behaviours() []behaviour {
	second := time.Second
	return []behaviour{
		{temper: Healthy, open: good(manners{}), sentence: "answers every step and sends a key frame at once, then one a second"},
		{temper: Digest, open: good(manners{login: []auth.VerifyMethod{auth.VerifyMethodDigestMD5}}), login: true, sentence: "healthy, behind a digest log-in"},
		{temper: Basic, open: good(manners{login: []auth.VerifyMethod{auth.VerifyMethodBasic}}), login: true, sentence: "healthy, behind a basic log-in"},
		{temper: Slow, open: good(manners{slow: true}), defaults: Config{Delay: 300 * time.Millisecond}, sentence: "healthy, but every answer takes Delay"},
		{temper: LongGOP, open: good(manners{running: true}), defaults: Config{GOP: 30 * second}, sentence: "a running stream with a key frame every GOP; clients join where it is"},
		{temper: LateKeyFrame, open: good(manners{late: true}), defaults: Config{Delay: 5 * second}, sentence: "pictures at once, but the first key frame Delay after PLAY"},
		{temper: LimitedSlots, open: good(manners{}), defaults: Config{Slots: 2}, sentence: "healthy for Slots sessions; the next is refused as Full says"},
		{temper: LingeringSlots, open: good(manners{}), defaults: Config{Slots: 2, Linger: 10 * second}, sentence: "slots, and a session that ended without TEARDOWN keeps its slot for Linger"},

		{temper: Refuses, open: openRefusing, sentence: "nobody listens: connections are refused"},
		{temper: DropsSYN, open: openDeaf, sentence: "the accept backlog is full: the kernel drops every SYN"},
		{temper: ClosesAtConnect, open: scripted(script{accept: hangUp}), sentence: "closes every connection at once"},
		{temper: MuteAtConnect, open: scripted(script{accept: fallMute}), sentence: "accepts, and never says a word"},
		{temper: MuteAtOptions, open: scripted(script{options: fallMute}), sentence: "never answers OPTIONS, nor anything after it"},
		{temper: MuteAtDescribe, open: scripted(script{describe: fallMute}), sentence: "answers OPTIONS, never DESCRIBE"},
		{temper: MuteAtSetup, open: scripted(script{setup: fallMute}), sentence: "answers DESCRIBE, never SETUP"},
		{temper: MuteAtPlay, open: scripted(script{play: fallMute}), sentence: "answers SETUP, never PLAY"},
		{temper: ClosesAtPlay, open: scripted(script{play: hangUp}), sentence: "closes the connection (FIN) instead of answering PLAY, as a Tapo without a free slot"},
		{temper: ResetsAtPlay, open: scripted(script{play: slam}), sentence: "resets the connection (RST) instead of answering PLAY"},
		{temper: SilentAfterPlay, open: scripted(script{media: sendNothing}), sentence: "answers PLAY and sends nothing"},
		{temper: RTCPOnly, open: scripted(script{media: sendReports}), defaults: Config{Delay: 500 * time.Millisecond}, sentence: "answers PLAY and sends an RTCP sender report every Delay, never video"},
		{temper: ResetsMidFrame, open: scripted(script{media: sendHalfAFrame}), sentence: "sends half a key frame, then resets the connection"},

		{temper: WrongPassword, open: scripted(script{login: acceptNobody}), sentence: "asks for a log-in and accepts none (401)"},
		{temper: NotFound, open: scripted(script{describe: say(404)}), sentence: "knows no stream (404 at DESCRIBE)"},
		{temper: BusyAtSetup, open: scripted(script{setup: say(453)}), sentence: "has no bandwidth left (453 at SETUP)"},
		{temper: Unavailable, open: scripted(script{describe: say(503)}), sentence: "is not available (503 at DESCRIBE)"},
		{temper: Redirects, open: openRedirecting, sentence: "sends clients elsewhere (302 at DESCRIBE) and counts who goes there"},
		{temper: GarbageMedia, open: scripted(script{media: sendGarbage}), defaults: Config{Delay: 50 * time.Millisecond}, sentence: "answers PLAY and sends interleaved frames of random bytes every Delay"},
		{temper: GarbageAnswers, open: scripted(script{options: answerGarbage, describe: answerGarbage}), sentence: "answers with random bytes that are not RTSP"},
	}
}

// Tempers returns every ordinary temper, healthy ones first. HostileTempers returns the others.
func Tempers() []Temper { return namesOf(behaviours()) }

// HostileTempers returns the tempers of cameras that mean harm: they give what has no end or no sense, as fast as a
// LAN can carry it, for as long as the client stays.
func HostileTempers() []Temper { return namesOf(hostilities()) }

func namesOf(table []behaviour) []Temper {
	tempers := make([]Temper, 0, len(table))
	for _, row := range table {
		tempers = append(tempers, row.temper)
	}
	return tempers
}

// Sentence returns what a camera of this temper does, or "" for an unknown one.
func (t Temper) Sentence() string {
	row, _ := behaviourOf(t)
	return row.sentence
}

func behaviourOf(temper Temper) (behaviour, bool) {
	for _, row := range append(behaviours(), hostilities()...) {
		if row.temper == temper {
			return row, true
		}
	}
	return behaviour{}, false
}
