package depacketize

import "encoding/binary"

// IVF is the container that ffmpeg reads single frames of VP8, VP9 and AV1 from: a header that names the codec, then each frame behind
// its length. There is no standard; the layout is that of libvpx (ivfenc.c), and all numbers are little-endian.
const (
	ivfHeader  = 32 // bytes
	ivfFrame   = 12 // bytes before each frame
	ivfPreface = ivfHeader + ivfFrame
)

// beginIVF appends what comes before the only frame, its length yet unknown.
func beginIVF(file []byte) []byte { return append(file, make([]byte, ivfPreface)...) }

// endIVF fills in what beginIVF left open. The file holds the preface, and behind it the whole frame.
func endIVF(file []byte, fourCC string, width, height int) {
	copy(file, "DKIF")
	binary.LittleEndian.PutUint16(file[6:], ivfHeader)
	copy(file[8:12], fourCC)
	binary.LittleEndian.PutUint16(file[12:], uint16(width))
	binary.LittleEndian.PutUint16(file[14:], uint16(height))
	binary.LittleEndian.PutUint32(file[16:], 1) // one tick
	binary.LittleEndian.PutUint32(file[20:], 1) // a second
	binary.LittleEndian.PutUint32(file[24:], 1) // frame
	binary.LittleEndian.PutUint32(file[ivfHeader:], uint32(len(file)-ivfPreface))
}
