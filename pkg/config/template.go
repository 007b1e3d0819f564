package config

// Template returns the file that `config init` writes: every key with its default, commented out, and examples.
// It says nothing but the defaults.
func Template() []byte { return []byte(template) }

// A line that begins with "#" and no blank is a key with its default, or an example when it says so.
const template = `# camwarden: which cameras there are, and how to treat them.
# Everything that is commented out here is the default, or marked as an example.
# Check with: camwarden config check. See what holds with: camwarden config show.
# Relative paths are relative to the folder of this file.

# The cameras (example). Each needs an id, and either a host or a url.
# A camera may override each of the defaults below.
#cameras:
#  - {id: gate, host: 192.168.125.19, model: Tapo C110}
#  - {id: yard, url: "rtsp://192.168.125.45:554/h264Preview_01_sub", max_connections: 4, reserve: 1}

# Named subnets: prefixes and camera ids (example). A round takes such a name, a prefix, or "all".
#subnets:
#  office: [192.168.125.0/24, gate]

# What holds for every camera that does not say otherwise.
#defaults:
# The password comes from a file (mode 600) or from an environment variable. cron does not set the variables of
# your shell, so prefer the file there. A relative password_file may be a systemd credential.
#  username: ""
#  password_env: CAM_PASSWORD
#  password_file: ""
#  port: 554
#  path: /stream1
# tcp, udp or auto.
#  transport: tcp
# auto, fir or off: whether a still that would have to wait asks the camera for a key frame (RTCP), which every viewer then gets too.
#  key_frame_request: auto
# The maker (hikvision, dahua, reolink, tapo, ...): gives path, port and limit where a camera names none; see docs/cameras.md.
#  brand: ""
# main or sub: of which stream a still is taken. The smaller one needs a brand, or its path.
#  stream: main
#  sub_path: ""
# The channel of a recorder, from 1.
#  channel: 1
# How many connections the address allows, all clients together, and how many of these are never ours.
#  max_connections: 2
#  reserve: 0
# The camera's own picture: a path, or a whole http:// or https:// URL, with {host} {channel} {username} {password} {random}.
#  snapshot: ""
# auto (digest; basic only over TLS), digest, basic, query or none; and how many pictures are taken of an address at once.
#  snapshot_auth: auto
#  http_connections: 1
# How long one visit may take.
#  timeout: 10s
# How long the camera may hold a session that was cut off.
#  session_timeout: 60s

# How to get a still, in this order, until one works.
#sources: [go2rtc, http, rtsp, ffmpeg]

# Where rounds keep their pictures. Empty: nowhere.
#output_dir: ""
# How their files are named below it: {camera} and a time (UTC) of {datetime}, or of {date} {year} {month} {day} {hour} and {time}.
#output_name: "{camera}/{datetime}.jpg"

# Which of them are kept; empty and 0 set no bound. A round removes the rest, the oldest first, and so does camwarden prune.
# The last still of a camera always stays. For example: {for: 720h, bytes: 50GiB}
#keep:
#  for: ""
#  most: 0
#  bytes: ""

# How long a subnet is left alone after a round.
#cooldown: 0s

# From 2, the best, to 31.
#jpeg_quality: 3

# Where locks, leases and lasting notes are kept. Empty: where such things belong for this user.
#state_dir: ""

#ffmpeg:
#  path: ffmpeg

# A go2rtc that relays the cameras (example; left out, none is used). snapshot: frame or restream.
# lifecycle: ephemeral (streams are removed after a round) or standing.
#go2rtc:
#  url: http://127.0.0.1:1984
#  username: ""
#  password_file: ""
#  ca_file: ""
#  stream_prefix: camwarden-
#  snapshot: frame
#  lifecycle: ephemeral

# When a capturing process that somebody left behind counts as leaked, and what such programs are called. Others than these two
# are ended for nothing but silence, with --include silent: what their command lines mean is not known.
#reap:
#  older_than: 5m
#  silent_for: 5m
#  programs: [ffmpeg, ffprobe]

# From how many captures on it is a finding, and the findings that are known and count for nothing:
# [{code: blind-connections, subject: connections}], where no subject means any.
#doctor:
#  processes_warning: 5
#  processes_critical: 20
#  ignore: []
`
