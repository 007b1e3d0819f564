package cmdline

import (
	"slices"
	"strings"
)

// takesNone reports whether an option of ffmpeg takes no value (ffmpeg -h full, versions 4.1 to 8.0). Every option of a
// codec, a format or a protocol takes one, "-update 1" too.
func takesNone(option string) bool {
	name, _, _ := strings.Cut(option, ":")
	return slices.Contains(valueless(), name) || strings.HasPrefix(name, "no") && slices.Contains(valueless(), name[2:])
}

func valueless() []string {
	return []string{
		"y", "n", "stdin", "hide_banner", "stats", "report", "re", "copyts", "start_at_zero", "shortest", "bitexact",
		"an", "vn", "sn", "dn", "ignore_unknown", "copy_unknown", "recast_media", "benchmark", "benchmark_all", "dump", "hex",
		"debug_ts", "psnr", "vstats", "qphist", "accurate_seek", "copyinkf", "autorotate", "autoscale", "fix_sub_duration", "fix_sub_duration_heartbeat",
		"find_stream_info", "force_fps", "auto_conversion_filters", "xerror", "display_hflip", "display_vflip", "print_graphs",
		"deinterlace", "intra", "sameq", "same_quant", "loop_input", "ilme", "ildct", "L", "version", "buildconf", "formats",
		"muxers", "demuxers", "devices", "codecs", "decoders", "encoders", "bsfs", "protocols", "filters", "pix_fmts", "layouts",
		"sample_fmts", "dispositions", "colors", "hwaccels",
	}
}

// known reports whether an option is certain to take a value, whatever the value looks like.
func known(option string) bool {
	name, _, _ := strings.Cut(option, ":")
	return strings.HasSuffix(name, "flags") || strings.HasSuffix(name, "flags2") || slices.Contains([]string{
		"f", "c", "codec", "vcodec", "acodec", "frames", "vframes", "aframes", "dframes", "t", "to", "ss", "sseof", "map",
		"vf", "af", "filter", "filter_complex", "lavfi", "headers", "user_agent", "cookies", "metadata", "loglevel", "v",
		"map_metadata", "map_chapters", "map_channel", "itsoffset", "user-agent", "referer", "rtsp_transport", "timeout",
		"bsf", "vbsf", "q", "r", "s", "b", "g", "preset", "tune", "profile", "pix_fmt", "itsscale", "threads", "probesize", "analyzeduration", "progress", "segment_list",
		"hls_segment_filename", "hls_base_url", "hls_key_info_file", "passlogfile", "vstats_file", "attach", "sdp_file", "http_proxy", "filter_script", "filter_complex_script",
		"dump_attachment", "init_seg_name", "media_seg_name", "hls_fmp4_init_filename", "segment_header_filename", "stats_file", "x264-params", "x265-params", "rtsp_flags", "stimeout",
	}, name)
}
