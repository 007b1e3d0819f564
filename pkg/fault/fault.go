// Package fault says what went wrong in words that scripts and people share: a class, a step, a message, a hint.
package fault

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Class is what kind of thing went wrong: the "class" field of every document.
// The set is a contract; scripts match on it.
type Class string

// The classes of the documents. Usage and NoSource appear only in fatal errors (camwarden.error/1).
const (
	Timeout     Class = "timeout"     // our limit passed while the camera was expected to act
	Exhausted   Class = "exhausted"   // no free connection at the camera, by our count or by its answer
	Auth        Class = "auth"        // 401 or 403
	NotFound    Class = "not-found"   // 404
	Refused     Class = "refused"     // ECONNREFUSED
	Unreachable Class = "unreachable" // EHOSTUNREACH, ENETUNREACH and their like
	DNS         Class = "dns"         // the name did not resolve
	Closed      Class = "closed"      // the other side ended the connection
	Protocol    Class = "protocol"    // an answer that is not RTSP, or one we do not accept
	NoVideo     Class = "no-video"    // the session has no video track we can use
	Decode      Class = "decode"      // the video could not be turned into a picture
	NotJPEG     Class = "not-jpeg"    // what came out is not one whole JPEG
	Local       Class = "local"       // our side: permissions, file descriptors, disk, a missing program
	Go2rtc      Class = "go2rtc"      // go2rtc's API failed or is unreachable
	Busy        Class = "busy"        // our own leases hold every slot, or another run holds the lock
	Cooling     Class = "cooling"     // a slot, or a subnet, has not cooled down yet
	Brake       Class = "brake"       // the round's brake is on
	Deadline    Class = "deadline"    // the round's deadline passed before this camera's turn
	Cancelled   Class = "cancelled"   // a signal or the caller ended the work
	Usage       Class = "usage"       // command line or configuration wrong
	NoSource    Class = "no-source"   // no listed source can work here
)

// Step is how far a conversation with a camera had come: the "step" field of every document; empty when unknown.
type Step string

// The steps of taking one still over RTSP, in their order (RFC 7826 section 13 for the methods), and then those over HTTP.
const (
	Connect  Step = "connect"
	Options  Step = "options"
	Describe Step = "describe"
	Setup    Step = "setup"
	Play     Step = "play"
	Media    Step = "media"
	KeyFrame Step = "keyframe"
	Decoding Step = "decode"
	Request  Step = "request" // asked for, and no whole answer header yet
	Body     Step = "body"    // the answer has begun
)

// At is " at PLAY" for messages, or "" when the step is not known.
func (s Step) At() string {
	switch s {
	case "":
		return ""
	case Media, KeyFrame:
		return " after PLAY"
	case Decoding:
		return " while decoding"
	case Connect:
		return " while connecting"
	case Request:
		return " before it answered"
	case Body:
		return " in the middle of its answer"
	}
	return " at " + strings.ToUpper(string(s))
}

// Error is one failure as the documents show it. Its texts hold no secret:
// whoever fills them in redacts where the text enters.
type Error struct {
	Class   Class  `json:"class" yaml:"class"`
	Step    Step   `json:"step" yaml:"step"`
	Message string `json:"message" yaml:"message"`
	Hint    string `json:"hint" yaml:"hint"`

	cause error
}

// Because gives the error a cause for errors.Is, and leaves its texts as they are.
func (e *Error) Because(cause error) *Error {
	e.cause = cause
	return e
}

// New returns an Error of the class, with a formatted message. A %w verb keeps its operand for errors.Is and errors.As.
func New(class Class, step Step, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Class: class, Step: step, Message: err.Error(), cause: errors.Unwrap(err)}
}

// WithHint sets what to type or to change next, and returns e.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// Error is the message alone; the command line adds class and hint where it shows them.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the operand of %w given to New, if there was one.
func (e *Error) Unwrap() error { return e.cause }

// From returns err as an *Error: itself when it already is or wraps one, else one of the given class with its text.
// From(nil, ...) is nil.
func From(err error, class Class, step Step) *Error {
	if err == nil {
		return nil
	}
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	return &Error{Class: class, Step: step, Message: err.Error(), cause: err}
}

// ClassOf returns the class of err, or "" when err is nil or carries none.
func ClassOf(err error) Class {
	var known *Error
	if errors.As(err, &known) {
		return known.Class
	}
	return ""
}

// HintMoreFiles is what to do about an error that OutOfFiles recognises.
const HintMoreFiles = "allow more open files (ulimit -n)"

// OutOfFiles reports whether err means that this process or this host may open no more files (EMFILE and ENFILE, man 2 open).
// Whatever was to be opened, nothing is wrong with that.
func OutOfFiles(err error) bool { return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) }
