package camsim

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// answer carries out one operation.
func (o *ONVIF) answer(w http.ResponseWriter, c operation) {
	second := c.space == media2Space
	if c.space == mediaSpace && c.name != "GetVideoSources" && o.has(Media2Only) {
		o.fault(w, http.StatusInternalServerError, "ter:ActionNotSupported")
		return
	}
	prefix := "trt"
	if second {
		prefix = "tr2"
	}
	switch c.name {
	case "GetSystemDateAndTime":
		o.write(w, http.StatusOK, o.clock())
	case "GetServices":
		o.write(w, http.StatusOK, "<tds:GetServicesResponse>"+o.services()+"</tds:GetServicesResponse>")
	case "GetCapabilities":
		o.write(w, http.StatusOK, "<tds:GetCapabilitiesResponse><tds:Capabilities>"+o.capabilities()+"</tds:Capabilities></tds:GetCapabilitiesResponse>")
	case "GetDeviceInformation":
		o.write(w, http.StatusOK, "<tds:GetDeviceInformationResponse><tds:Manufacturer>"+text(o.config.Maker)+"</tds:Manufacturer><tds:Model>"+text(o.config.Model)+
			"</tds:Model><tds:FirmwareVersion>1.0</tds:FirmwareVersion><tds:SerialNumber>1</tds:SerialNumber><tds:HardwareId>1</tds:HardwareId></tds:GetDeviceInformationResponse>")
	case "GetProfiles":
		o.write(w, http.StatusOK, "<"+prefix+":GetProfilesResponse>"+o.profiles(second)+"</"+prefix+":GetProfilesResponse>")
	case "GetVideoSources":
		o.write(w, http.StatusOK, "<trt:GetVideoSourcesResponse>"+o.sources()+"</trt:GetVideoSourcesResponse>")
	case "GetStreamUri", "GetSnapshotUri":
		o.uri(w, c, prefix)
	default:
		o.fault(w, http.StatusInternalServerError, "ter:ActionNotSupported")
	}
}

func text(value string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(value)) // a Builder does not fail
	return b.String()
}

func (o *ONVIF) clock() string {
	now := o.now().UTC()
	at := fmt.Sprintf("<tt:Time><tt:Hour>%d</tt:Hour><tt:Minute>%d</tt:Minute><tt:Second>%d</tt:Second></tt:Time><tt:Date><tt:Year>%d</tt:Year><tt:Month>%d</tt:Month><tt:Day>%d</tt:Day></tt:Date>",
		now.Hour(), now.Minute(), now.Second(), now.Year(), now.Month(), now.Day())
	return "<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:DateTimeType>Manual</tt:DateTimeType><tt:DaylightSavings>false</tt:DaylightSavings><tt:UTCDateTime>" +
		at + "</tt:UTCDateTime></tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>"
}

// host is what the device takes for its own address.
func (o *ONVIF) host() string {
	if o.has(NAT) {
		return strangerHost
	}
	return o.config.Address.Addr().String()
}

func (o *ONVIF) xaddr(service string) string {
	return fmt.Sprintf("http://%s:%d/onvif/%s_service", o.host(), o.config.Address.Port(), service)
}

func (o *ONVIF) services() string {
	one := func(space, service string) string {
		return "<tds:Service><tds:Namespace>" + space + "</tds:Namespace><tds:XAddr>" + o.xaddr(service) + "</tds:XAddr><tds:Version><tt:Major>2</tt:Major><tt:Minor>0</tt:Minor></tds:Version></tds:Service>"
	}
	all := one(deviceSpace, "device")
	if !o.has(Media2Only) {
		all += one(mediaSpace, "media")
	}
	return all + one(media2Space, "media2")
}

func (o *ONVIF) capabilities() string {
	all := "<tt:Device><tt:XAddr>" + o.xaddr("device") + "</tt:XAddr></tt:Device>"
	if !o.has(Media2Only) {
		all += "<tt:Media><tt:XAddr>" + o.xaddr("media") + "</tt:XAddr></tt:Media>"
	}
	return all
}

// profiles are two for each channel.
func (o *ONVIF) profiles(second bool) string {
	var b strings.Builder
	for channel := 1; channel <= o.config.Channels; channel++ {
		for _, size := range []struct {
			kind          string
			width, height int
		}{{"main", 1920, 1080}, {"sub", 640, 360}} {
			if o.config.Path != "" && (channel > 1 || size.kind == "sub") {
				continue
			}
			name := fmt.Sprintf("ch%d_%s", channel, size.kind)
			source := fmt.Sprintf(`<tt:Name>V</tt:Name><tt:UseCount>2</tt:UseCount><tt:SourceToken>VideoSource_%d</tt:SourceToken><tt:Bounds x="0" y="0" width="%d" height="%d"/>`, channel, size.width, size.height)
			encoder := fmt.Sprintf("<tt:Name>E</tt:Name><tt:UseCount>1</tt:UseCount><tt:Encoding>H264</tt:Encoding><tt:Resolution><tt:Width>%d</tt:Width><tt:Height>%d</tt:Height></tt:Resolution><tt:Quality>4</tt:Quality>", size.width, size.height)
			if second {
				fmt.Fprintf(&b, `<tr2:Profiles token="%s" fixed="true"><tr2:Name>%s</tr2:Name><tr2:Configurations><tr2:VideoSource token="V%d">%s</tr2:VideoSource><tr2:VideoEncoder token="E">%s</tr2:VideoEncoder></tr2:Configurations></tr2:Profiles>`,
					name, name, channel, source, encoder)
				continue
			}
			fmt.Fprintf(&b, `<trt:Profiles token="%s" fixed="true"><tt:Name>%s</tt:Name><tt:VideoSourceConfiguration token="V%d">%s</tt:VideoSourceConfiguration><tt:VideoEncoderConfiguration token="E">%s</tt:VideoEncoderConfiguration></trt:Profiles>`,
				name, name, channel, source, encoder)
		}
	}
	return b.String()
}

func (o *ONVIF) sources() string {
	var b strings.Builder
	for channel := 1; channel <= o.config.Channels; channel++ {
		fmt.Fprintf(&b, `<trt:VideoSources token="VideoSource_%d"><tt:Framerate>25</tt:Framerate><tt:Resolution><tt:Width>1920</tt:Width><tt:Height>1080</tt:Height></tt:Resolution></trt:VideoSources>`, channel)
	}
	return b.String()
}

// uri names the stream or the picture of a profile.
func (o *ONVIF) uri(w http.ResponseWriter, c operation, prefix string) {
	number, kind, _ := strings.Cut(strings.TrimPrefix(c.profile, "ch"), "_")
	channel, err := strconv.Atoi(number)
	switch {
	case err != nil || channel < 1 || channel > o.config.Channels:
		o.fault(w, http.StatusBadRequest, "ter:NoProfile")
		return
	case c.name == "GetSnapshotUri" && o.has(NoSnapshot):
		o.fault(w, http.StatusInternalServerError, "ter:ActionNotSupported")
		return
	}
	stream := fmt.Sprintf("rtsp://%s:%d%s", o.host(), o.config.RTSP, cmp.Or(o.config.Path, StreamPath(channel, kind == "sub")))
	uri := stream
	if c.name == "GetSnapshotUri" && !o.has(SnapshotIsRTSP) {
		uri = fmt.Sprintf("http://%s:%d%s?channel=%d&size=full", o.host(), o.config.Address.Port(), snapshotPath, channel)
	}
	if prefix == "tr2" {
		o.write(w, http.StatusOK, "<tr2:"+c.name+"Response><tr2:Uri>"+text(uri)+"</tr2:Uri></tr2:"+c.name+"Response>")
		return
	}
	o.write(w, http.StatusOK, "<trt:"+c.name+"Response><trt:MediaUri><tt:Uri>"+text(uri)+"</tt:Uri><tt:InvalidAfterConnect>false</tt:InvalidAfterConnect>"+
		"<tt:InvalidAfterReboot>false</tt:InvalidAfterReboot><tt:Timeout>PT0S</tt:Timeout></trt:MediaUri></trt:"+c.name+"Response>")
}
