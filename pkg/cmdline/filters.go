package cmdline

import (
	"slices"
	"strings"
)

// prompt are the filters that give a picture for each picture they take, at once or after the next one or two (man 1
// ffmpeg-filters). It is a list of what is known to be so, since any filter that is not may read on for as long as bytes come,
// and new ones do.
func prompt() []string {
	return []string{
		"alphaextract", "avgblur", "bilateral", "boxblur", "bwdif", "bwdif_cuda", "bwdif_vulkan", "cas", "chromakey", "chromanr", "chromashift", "colorbalance",
		"colorchannelmixer", "colorcontrast", "colorcorrect", "colorhold", "colorize", "colorkey", "colorlevels", "colormatrix", "colorspace",
		"colortemperature", "convolution", "copy", "crop", "curves", "deband", "deblock", "deinterlace_qsv", "deinterlace_vaapi", "delogo",
		"denoise_vaapi", "despill", "dilation", "drawbox", "drawgrid", "drawtext", "edgedetect", "elbg", "eq", "erosion", "exposure", "extractplanes",
		"fftfilt", "fieldorder", "fillborders", "format", "gblur", "geq", "grayworld", "greyedge", "hflip", "histeq", "hqdn3d", "hue", "huesaturation",
		"hwdownload", "hwmap", "hwupload", "hwupload_cuda", "il", "inflate", "deflate", "lenscorrection", "limiter", "lumakey", "lut", "lut1d", "lut3d",
		"lutrgb", "lutyuv", "median", "monochrome", "movie", "negate", "nlmeans", "noformat", "noise", "null", "owdenoise", "pad", "perspective",
		"pixdesctest", "pixelize", "pixscope", "pp", "pp7", "prewitt", "procamp_vaapi", "removelogo", "rgbashift", "rotate", "sab", "scale", "scale_cuda", "scale_npp",
		"scale_qsv", "scale_vaapi", "scale_vulkan", "selectivecolor", "setdar", "setfield", "setparams", "setpts", "setrange", "setsar", "settb",
		"sharpness_vaapi", "shear", "showinfo", "shuffleplanes", "smartblur", "sobel", "split", "spp", "subtitles", "swaprect", "swapuv", "tonemap",
		"tonemap_opencl", "tonemap_vaapi", "transpose", "transpose_cuda", "transpose_npp", "transpose_vaapi", "unsharp", "v360", "vaguedenoiser", "vflip", "vibrance",
		"vignette", "vpp_qsv", "w3fdif", "yadif", "yadif_cuda", "yaepblur", "zscale",
	}
}

// promptStream are the bitstream filters that pass on every packet (man 1 ffmpeg-bitstream-filters).
func promptStream() []string {
	return []string{
		"av1_metadata", "dump_extra", "extract_extradata", "h264_metadata", "h264_mp4toannexb", "hevc_metadata", "hevc_mp4toannexb", "imxdump",
		"mjpeg2jpeg", "null", "remove_extra", "setts", "trace_headers",
	}
}

// chooser returns the first filter of a graph that is not known to give a picture for each; empty: all are. What cannot be
// read counts as such a filter.
func chooser(graph string) string {
	for _, name := range filters(graph) {
		if !slices.Contains(prompt(), name) {
			return name
		}
	}
	return ""
}

// streamChooser is chooser for a list of bitstream filters: "noise=drop=1,null".
func streamChooser(list string) string {
	for one := range strings.SplitSeq(list, ",") {
		if name, _, _ := strings.Cut(strings.TrimSpace(one), "="); !slices.Contains(promptStream(), name) {
			return name
		}
	}
	return ""
}

// filters returns the names of the filters of a graph, in order (man 1 ffmpeg-filters, "Filtergraph syntax").
func filters(graph string) []string {
	var names []string
	for _, one := range pieces(graph) {
		one = strings.TrimSpace(one)
		for strings.HasPrefix(one, "[") {
			_, rest, closed := strings.Cut(one, "]")
			if !closed {
				break
			}
			one = strings.TrimSpace(rest)
		}
		name := one
		if i := strings.IndexAny(one, "=@[ \t\r\n"); i >= 0 {
			name = one[:i]
		}
		if name == "sws_flags" || name == "" && one == "" {
			continue // the first is no filter, and a graph may end with a sign that parts
		}
		names = append(names, name)
	}
	return names
}

// pieces parts a graph at the commas and semicolons that are neither quoted nor escaped.
func pieces(graph string) []string {
	var all []string
	from, quoted := 0, false
	for i := 0; i < len(graph); i++ {
		switch c := graph[i]; {
		case c == '\'':
			quoted = !quoted
		case c == '\\' && !quoted:
			i++
		case (c == ',' || c == ';') && !quoted:
			all, from = append(all, graph[from:i]), i+1
		}
	}
	return append(all, graph[from:])
}

// played returns the URLs that the sources "movie" and "amovie" of a graph open, without their escapes.
func played(graph string) []string {
	var urls []string
	for _, one := range pieces(graph) {
		_, value, found := strings.Cut(one, "movie=")
		if !found {
			continue
		}
		value = strings.NewReplacer(`\`, "", "'", "").Replace(value)
		urls = append(urls, strings.TrimPrefix(value, "filename="))
	}
	return urls
}
