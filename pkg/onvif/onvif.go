// Package onvif asks one ONVIF device what it is and where its streams are, and sends its password at most once in vain.
//
// The calls are our own, because the libraries of the field (kerberos-io/onvif v1.0.0, IOTechSystems/onvif v1.2.0) stand in the
// way of what discovery promises:
//   - both stamp the token with this host's clock and never ask for the camera's, so one that is an hour off refuses a right
//     password, which counts against the account;
//   - both send the token with every call, wanted or not, and with a refusal go on with the next call, so a wrong password is
//     sent many times;
//   - both dial whatever address an answer names, with the log-in;
//   - both read bodies without a bound, and through net/http, which refuses headers that cameras send.
package onvif

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// Target is the device to ask.
type Target struct {
	Address            netip.AddrPort // dialled, whatever its answers name; must be valid
	TLS                bool
	Path               string // of the device service; "/onvif/device_service" when empty
	Username, Password string
	LogIn              bool // the user name and password may be sent
	Known              bool // the user named it: Basic may go there over TLS, else only where a call without a log-in was answered
	Agent              string

	// Gone, if not nil, sees to it that a connection of ours, which was just closed, is gone before another one is dialled.
	Gone func(local netip.AddrPort) error
}

// Limits bound the questions. A zero field means its default.
type Limits struct {
	Step  time.Duration // for each answer; default 4 s
	Whole time.Duration // for all of them; default 12 s. An earlier deadline of the context wins
	Bytes int64         // of one answer; default 8 MiB
}

// LogIn is what became of the log-in.
type LogIn string

// The outcomes of a log-in.
const (
	None     LogIn = "none"      // the device wants none
	Accepted LogIn = "accepted"  // the device took it
	Refused  LogIn = "refused"   // the device refused it: it must not be sent to it again
	NotTried LogIn = "not-tried" // the device may want one, and none was sent
)

// Device is what a device says of itself. Texts are its own words, without control characters; any of them may be empty.
type Device struct {
	Manufacturer, Model, Firmware string

	Server   string        // the "Server" header of its HTTP answers
	Realm    string        // of its challenge, where there was one
	ClockOff time.Duration // how far its clock is ahead of ours, where it told
	Profiles []Profile     // those with video, in the order of the device
	LogIn    LogIn
	Local    netip.AddrPort // our end of the last connection, by which the kernel knows it
	ONVIF    bool           // something answered in SOAP
	HTTP     bool           // something answered in HTTP
}

// Profile is one stream of a device.
type Profile struct {
	Token         string
	Source        string // the token of the video source: profiles that share it show the same scene
	Codec         string // as the device names it: H264, H265, JPEG
	Width, Height int
	Stream        Address // of its RTSP; the zero Address when there is none
	Snapshot      Address // of its JPEG; the zero Address when there is none, or it was not asked for
}

// Address is where something of the device is to be had. Its host is always the one that was dialled.
type Address struct {
	Scheme string // rtsp, rtsps, http or https; "" when there is none
	Port   uint16
	Path   string // with its query; may hold a log-in that the device wrote into it
}

// What ends the questions.
var (
	// ErrRefused says that the device refused the user name or the password.
	ErrRefused = errors.New("it refused the user name or password")
	// ErrWanted says that the device wants a log-in, and none may be sent.
	ErrWanted = errors.New("it wants a log-in")
	// ErrNotONVIF says that what answers in HTTP does not speak ONVIF.
	ErrNotONVIF = errors.New("what answers there is not ONVIF")
	// ErrNoService says that there is a web server, and nothing at the path that was asked.
	ErrNoService = errors.New("there is no ONVIF service at that path")
	// ErrFlood says that an answer was longer than the limit.
	ErrFlood = errors.New("its answer is longer than any honest one")
	// ErrXML says that an answer is no XML, or no XML of ONVIF.
	ErrXML = errors.New("its answer cannot be read")
)

// Ask asks a device for its clock, its services, its profiles with their streams, and what it is. What it answered before
// something went wrong is in the Device, together with the error: one of those above, one of the socket, or a *Fault. None holds
// a password. When Ask returns, no goroutine and no socket is left.
func Ask(ctx context.Context, target Target, limits Limits) (Device, error) {
	t := newTalk(ctx, target, limits)
	defer t.close()
	err := t.ask()
	t.close()
	t.device.Local = t.local
	t.device.LogIn = t.outcome()
	return t.device, err
}
