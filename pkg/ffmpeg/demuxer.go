package ffmpeg

// demuxer is ffmpeg's name of what a single picture of the codec comes in (ffmpeg-formats). The others are named like their codec. A
// stream of MPEG-1 and one of MPEG-2 are the same to it: its decoder finds out which it is.
func demuxer(codec string) string {
	switch codec {
	case "vp8", "vp9", "av1":
		return "ivf"
	case "mpeg4":
		return "m4v"
	case "mpeg1video", "mpeg2video":
		return "mpegvideo"
	}
	return codec
}
