package onvif

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func FuzzDecode(f *testing.F) {
	f.Add(`<s:Envelope xmlns:s="x"><s:Body><Uri>rtsp://h/p</Uri></s:Body></s:Envelope>`)
	f.Add("\ufeff\r\n<a><Body><Profiles token=\"a\"><Width>1</Width></Profiles></Body></a>\x00")
	f.Fuzz(func(t *testing.T, text string) {
		root, err := decode(strings.NewReader(text))
		if err == nil && root.find("Body") == nil {
			t.Error("an envelope without a body")
		}
		for _, p := range root.all("Profiles") {
			if profile, ok := profileOf(p); ok && (profile.Width < 0 || strings.ContainsAny(profile.Codec, "\n\x00")) {
				t.Errorf("%+v", profile)
			}
		}
		_ = faultOf(root, "x")
	})
}

func FuzzPlace(f *testing.F) {
	f.Add("rtsp://u:p@h:1/p?a=b&c")
	f.Add("/x")
	at := newTalk(f.Context(), Target{Address: netip.MustParseAddrPort("127.0.0.5:8000")}, Limits{})
	f.Fuzz(func(t *testing.T, uri string) {
		for _, schemes := range [][]string{{"rtsp", "rtsps"}, {"http", "https"}} {
			if a := at.place(uri, schemes...); a.Scheme != "" && (!strings.HasPrefix(a.Path, "/") || a.Port == 0 || strings.ContainsAny(a.Path, " \r\n\"")) {
				t.Errorf("%q is %+v", uri, a)
			}
		}
		if path := at.servicePath(uri); !strings.HasPrefix(path, "/") || strings.ContainsAny(path, " \r\n") {
			t.Errorf("%q is the service path %q", uri, path)
		}
	})
}

// The example of the WS-Security UsernameToken Profile's digest, as ONVIF's Application Programmer's Guide computes it.
func TestToken_shape(t *testing.T) {
	t.Parallel()
	one, two := token("a<b", "geheim", time.Unix(0, 0)), token("a<b", "geheim", time.Unix(0, 0))
	for _, want := range []string{"<wsse:Username>a&lt;b</wsse:Username>", "<wsu:Created>1970-01-01T00:00:00Z</wsu:Created>", "#PasswordDigest"} {
		if !strings.Contains(one, want) {
			t.Errorf("no %s in %s", want, one)
		}
	}
	if one == two || strings.Contains(one, "geheim") || strings.Contains(strings.ToLower(one), "mustunderstand") {
		t.Errorf("the same nonce twice, the password, or a demand to understand: %s", one)
	}
}

func TestDecode_bounds(t *testing.T) {
	t.Parallel()
	for about, text := range map[string]string{
		"depth": strings.Repeat("<x>", 1000), "elements": "<e><Body>" + strings.Repeat("<Uri/>", maxElements+1),
		"crossed tags": "<e><Body><Uri></Body></Uri></e>", "not an envelope": "<e><x/></e>", "nothing": "", "an entity": "<e><Body>&x;</Body></e>",
	} {
		if _, err := decode(strings.NewReader(text)); !errors.Is(err, ErrXML) && !errors.Is(err, ErrFlood) {
			t.Errorf("%s: %v", about, err)
		}
	}
	root, err := decode(strings.NewReader("\ufeff\r\n<?xml version='1.0' encoding='ISO-8859-1'?><e:E><e:Body><Uri><![CDATA[rtsp://h/a&b]]></Uri><Name>\xe9</Name></e:Body></e:E>\x00\x00"))
	if err != nil || root.say("Uri") != "rtsp://h/a&b" {
		t.Errorf("%v, %q", err, root.say("Uri"))
	}
}
