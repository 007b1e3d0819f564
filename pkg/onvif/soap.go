package onvif

import (
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // WS-Security UsernameToken 1.0 says SHA-1
	"encoding/base64"
	"encoding/xml"
	"strings"
	"time"
)

// The namespaces of the services, with the prefixes that everybody uses: some devices know only those.
const (
	deviceNS = "http://www.onvif.org/ver10/device/wsdl"
	mediaNS  = "http://www.onvif.org/ver10/media/wsdl"
	media2NS = "http://www.onvif.org/ver20/media/wsdl"
	schemaNS = "http://www.onvif.org/ver10/schema"
)

// request is one call: the operation with its parameters as XML.
type request struct {
	space, name string
	parameters  string
	open        bool // answered without a log-in by most, and never worth one
}

func prefixOf(space string) string {
	switch space {
	case mediaNS:
		return "trt"
	case media2NS:
		return "tr2"
	default:
		return "tds"
	}
}

// action is the name of the operation as SOAP 1.2 puts it into the content type.
func (r request) action() string { return r.space + "/" + r.name }

// envelope returns the whole message, with a token if that is not empty.
func (r request) envelope(token string) string {
	prefix := prefixOf(r.space)
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:` + prefix + `="` + r.space + `" xmlns:tt="` + schemaNS + `">`)
	if token != "" {
		b.WriteString("<s:Header>" + token + "</s:Header>")
	}
	b.WriteString("<s:Body><" + prefix + ":" + r.name)
	if r.parameters == "" {
		b.WriteString("/>")
	} else {
		b.WriteString(">" + r.parameters + "</" + prefix + ":" + r.name + ">")
	}
	b.WriteString("</s:Body></s:Envelope>")
	return b.String()
}

// token is a UsernameToken with the digest of the password (OASIS WS-Security UsernameToken Profile 1.0): Base64(SHA1(nonce,
// created, password)). Created is by the clock of the device and has no fraction, which some refuse; each nonce is a new one.
func token(user, password string, now time.Time) string {
	const wss = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-"
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce) // it never fails
	created := now.UTC().Format("2006-01-02T15:04:05Z")
	h := sha1.New() //nolint:gosec // as above
	h.Write(nonce)
	h.Write([]byte(created + password))
	return `<wsse:Security xmlns:wsse="` + wss + `wssecurity-secext-1.0.xsd" xmlns:wsu="` + wss + `wssecurity-utility-1.0.xsd">` +
		`<wsse:UsernameToken><wsse:Username>` + escaped(user) + `</wsse:Username>` +
		`<wsse:Password Type="` + wss + `username-token-profile-1.0#PasswordDigest">` + base64.StdEncoding.EncodeToString(h.Sum(nil)) + `</wsse:Password>` +
		`<wsse:Nonce EncodingType="` + wss + `soap-message-security-1.0#Base64Binary">` + base64.StdEncoding.EncodeToString(nonce) + `</wsse:Nonce>` +
		`<wsu:Created>` + created + `</wsu:Created></wsse:UsernameToken></wsse:Security>`
}

func escaped(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder does not fail
	return b.String()
}

// Fault is what a device answers in place of a result (SOAP 1.2 part 1 section 5.4).
type Fault struct {
	Operation string // that it does not do
	Code      string // the innermost code, without its prefix: NotAuthorized, ActionNotSupported
	Reason    string // in its own words
}

// Error says what the device said.
func (f *Fault) Error() string {
	text := f.Operation + ": " + f.Code
	if f.Reason != "" {
		text += " (" + f.Reason + ")"
	}
	return text
}

// denied reports whether the device wants another log-in, or one at all.
func (f *Fault) denied() bool {
	code, reason := strings.ToLower(f.Code), strings.ToLower(f.Reason)
	for _, word := range []string{"notauthorized", "failedauthentication", "unauthorized", "invalidsecurity", "failedcheck"} {
		if strings.Contains(code, word) {
			return true
		}
	}
	return strings.Contains(reason, "not authorized") || strings.Contains(reason, "authority failure") || strings.Contains(reason, "unauthorized")
}

func faultOf(envelope *element, operation string) *Fault {
	at := envelope.find("Fault")
	if at == nil {
		return nil
	}
	f := &Fault{Operation: operation}
	for _, value := range append(at.all("Value"), at.all("faultcode")...) { // the innermost comes last
		if _, code, ok := strings.Cut(value.text(), ":"); ok {
			f.Code = clean(code)
		} else {
			f.Code = clean(value.text())
		}
	}
	if reason := at.find("Text"); reason != nil {
		f.Reason = clean(reason.text())
	} else if reason := at.find("faultstring"); reason != nil {
		f.Reason = clean(reason.text())
	}
	return f
}
