// One file: its picture or player, boxes, timeline, lines and table. Text from files is set as textContent.
const BEFORE_S = 1 // seconds: a click starts playback this long before the detection
const NEAR_S = 0.6 // seconds: a box is shown this long before and after its frame

function clock(seconds) {
  const [hours, minutes, rest] = [seconds / 3600, seconds / 60 % 60, seconds % 60].map(Math.floor)
  return `${hours ? `${hours}:${String(minutes).padStart(2, "0")}` : minutes}:${String(rest).padStart(2, "0")}`
}

class Viewer {
  constructor(data) {
    this.data = data
    this.off = new Set()
    this.root = make("div", "viewer")
    this.held = make("div", "held")
    const columns = make("div", "columns")
    const main = make("div", "main")
    const side = make("div", "side")
    const bar = this.bar()
    main.append(this.stage(), this.legend(), this.lanes(),
      detections(data, this.boxes, time => this.seek(time)))
    side.append(...this.sections())
    columns.append(main, side)
    this.held.append(columns)
    this.root.append(bar, make("h1", "", data.name), ...data.errors.map(line => make("p", "error", line)),
      ...data.notes.map(line => make("p", "note", line)), this.held)
    this.paint()
  }

  bar() {
    const bar = make("nav", "top")
    bar.setAttribute("aria-label", "File")
    const { back, previous, next } = this.data.ways
    const way = (text, href, title) => {
      if (href === null) {
        const none = button("", text, () => {})
        none.disabled = true
        return none
      }
      const link = make("a", "", text)
      link.href = href
      link.title = title
      link.onclick = event => follow(event, href)
      return link
    }
    if (back !== undefined) bar.append(way(`← ${this.data.ways.where}`, back, "Esc"))
    if (previous !== undefined) bar.append(way("Previous", previous, "Left arrow"), way("Next", next, "Right arrow"))
    this.eye = button("", "Reveal", () => this.reveal())
    this.eye.title = "b"
    bar.append(make("span", "gap"))
    if (this.data.kind !== "audio" && (this.data.source || this.data.poster)) bar.append(this.eye)
    return bar
  }

  stage() {
    const { kind, source, poster, ratio, name } = this.data
    this.box = make("div", `stage ${kind}`)
    this.fit = make("div", "fit")
    this.box.append(this.fit)
    if (kind === "image" && source) {
      const image = make("img")
      image.alt = name
      image.onerror = () => this.fallBack("This browser cannot show this image format. This is its thumbnail.", "There is no picture to show.")
      image.src = source
      this.fit.append(image)
    } else if ((kind === "video" || kind === "audio") && source) {
      this.player = make(kind)
      this.player.controls = true
      this.player.preload = "metadata"
      this.player.setAttribute("aria-label", name)
      if (poster) this.player.poster = poster
      this.player.onerror = () => this.fallBack("This browser cannot play this file. This is its thumbnail.", "This browser cannot play this file.")
      this.player.ontimeupdate = () => this.tick()
      this.player.onloadedmetadata = () => { if (this.data.start !== null) this.seek(this.data.start, false); this.tick() }
      // the arrows seek in a player that has the focus; they do not also go to another file
      this.player.onkeydown = event => { if (event.key.startsWith("Arrow")) event.stopPropagation() }
      this.player.src = source
      if (kind === "audio") { this.fit.remove(); this.box.append(this.player) } else this.fit.append(this.player)
    } else this.fallBack("", "There is no picture to show.")
    // fill the width of the column, up to 66% of the window's height
    if (ratio && kind !== "audio") {
      this.fit.classList.add("sized")
      Object.assign(this.fit.style, { aspectRatio: ratio, width: `min(100%, calc(66vh * ${ratio}))` })
    }
    this.boxes = this.data.boxes.map(box => {
      const drawn = make("div", `box${box.top < 8 ? " under" : ""}`)
      Object.assign(drawn.style, { left: `${box.left}%`, top: `${box.top}%`, width: `${box.width}%`,
        height: `${box.height}%`, borderColor: box.color })
      drawn.append(make("span", "", box.text))
      drawn.title = box.text
      drawn.info = box
      return drawn
    })
    this.overlay = make("div", "overlay")
    this.overlay.classList.toggle("few", this.player !== undefined || this.boxes.length <= 8)
    if (!this.player) this.overlay.append(...this.boxes.filter(box => box.info.time === null))
    if (ratio && kind !== "audio") this.fit.append(this.overlay)
    return this.box
  }

  fallBack(withPoster, without) {
    const poster = this.data.poster
    this.player = undefined
    this.box.className = "stage"
    if (poster) {
      const image = make("img")
      image.alt = this.data.name
      image.src = poster
      this.fit.replaceChildren(image, ...(this.overlay ? [this.overlay] : []))
      this.box.replaceChildren(this.fit)
    } else {
      this.box.replaceChildren()
      this.eye.remove() // nothing to reveal
    }
    const message = poster ? withPoster : without
    if (message) this.box.append(make("p", "unseen", message))
  }

  legend() {
    const legend = make("div", "legend")
    legend.setAttribute("role", "group")
    legend.setAttribute("aria-label", "Show what each detector found")
    for (const { detector, count, color } of this.data.legend) {
      const toggle = button("", "", () => {
        const off = !this.off.delete(detector)
        if (off) this.off.add(detector)
        toggle.setAttribute("aria-pressed", String(!off))
        this.paint()
      })
      toggle.setAttribute("aria-pressed", "true")
      const dot = make("span", "dot")
      dot.style.background = color
      toggle.append(dot, document.createTextNode(`${detector} ${count}`))
      legend.append(toggle)
    }
    return legend
  }

  lanes() {
    const lanes = make("div", "lanes")
    const length = this.data.seconds || Math.max(1, ...this.data.lanes.flatMap(lane => lane.marks.map(mark => mark.end)))
    this.length = length
    this.nows = []
    this.tracks = this.data.lanes.map(lane => {
      const row = make("div", "lane")
      row.detector = lane.detector
      const track = make("div", "track")
      track.append(...lane.marks.map(mark => {
        const at = button("mark", "", () => this.seek(mark.start))
        at.title = `${mark.label} ${mark.score.toFixed(2)} at ${clock(mark.start)}`
        at.setAttribute("aria-label", `${lane.detector}: ${at.title}`)
        Object.assign(at.style, { left: `min(${mark.start / length * 100}%, 100% - 5px)`, width: `${(mark.end - mark.start) / length * 100}%`, background: lane.color })
        return at
      }))
      const now = make("span", "now")
      now.style.left = "0"
      this.nows.push(now)
      track.append(now)
      row.append(make("span", "who", lane.detector), track)
      return row
    })
    lanes.append(...this.tracks)
    return lanes
  }

  sections() {
    const sections = []
    const add = (title, content, count) => {
      const section = make("section")
      const head = make("h2", "", title)
      if (count) head.append(make("small", "", ` ${count}`))
      section.append(head, content)
      sections.push(section)
    }
    this.timed = []
    if (this.data.said.length) add("Said", this.lines(this.data.said), this.data.said.length)
    if (this.data.read.length) add("Text read", this.lines(this.data.read), this.data.read.length)
    const facts = make("dl")
    for (const [name, value] of this.data.facts) facts.append(make("dt", "", name), make("dd", "", value))
    add("File", facts)
    return sections
  }

  lines(lines) {
    const list = make("ul", "lines")
    list.tabIndex = -1
    for (const line of lines) {
      const item = make("li")
      const row = line.time === null ? make("div") : button("", "", () => this.seek(line.time))
      row.append(make("span", "clock", line.clock), make("span", "text", line.text), make("span", "score", line.score))
      if (line.time !== null) this.timed.push([line.time, row])
      item.append(row)
      list.append(item)
    }
    return list
  }

  seek(time, play = true) {
    if (!this.player) return
    this.player.currentTime = Math.max(0, time - BEFORE_S)
    if (play) this.player.play().catch(() => {}) // browsers may block playback before the first click
    this.tick()
  }

  tick() {
    const time = this.player?.currentTime ?? 0
    for (const now of this.nows) now.style.left = `${Math.min(100, time / this.length * 100)}%`
    this.overlay.replaceChildren(...this.boxes.filter(box => box.info.time !== null && Math.abs(box.info.time - time) < NEAR_S))
    let current = null
    for (const [at, row] of this.timed ?? []) {
      row.classList.remove("current")
      if (at <= time && time > 0) current = row
    }
    current?.classList.add("current")
  }

  paint() {
    for (const box of this.boxes) box.style.display = this.off.has(box.info.detector) ? "none" : ""
    for (const row of this.root.querySelectorAll("tr[data-detector]")) row.classList.toggle("off", this.off.has(row.dataset.detector))
    for (const track of this.tracks) track.style.display = this.off.has(track.detector) ? "none" : ""
  }

  reveal(shown = !this.box.classList.contains("shown")) {
    this.box.classList.toggle("shown", shown)
    this.eye.textContent = shown ? "Hide" : "Reveal"
    this.eye.setAttribute("aria-pressed", String(shown))
  }

  look(blur, grey) {
    const changed = this.hidden !== undefined && this.hidden !== `${blur}${grey}`
    this.hidden = `${blur}${grey}`
    this.box.classList.toggle("blur", blur)
    this.box.classList.toggle("grey", grey)
    this.eye.style.display = blur || grey ? "" : "none"
    if (changed) this.reveal(false)
  }

  key(event) {
    const at = event.composedPath()[0]
    if (event.ctrlKey || event.metaKey || event.altKey || at.matches?.("input, textarea, select, video, audio, [contenteditable]")) return
    const { back, previous, next } = this.data.ways
    const way = { Escape: back, ArrowLeft: previous, ArrowRight: next }[event.key]
    if (event.key === "b") this.reveal()
    else if (way) follow(event, way)
  }
}

const viewers = new WeakMap()

export default function (component) {
  const { data, parentElement } = component
  let viewer = viewers.get(parentElement)
  const key = JSON.stringify([data.file, data.ways])
  if (viewer?.drawn !== key) {
    viewer?.root.remove()
    if (viewer) document.removeEventListener("keydown", viewer.listener)
    viewer = new Viewer({ ...data.file, ways: data.ways })
    viewer.drawn = key
    viewer.listener = event => viewer.key(event)
    document.addEventListener("keydown", viewer.listener)
    viewers.set(parentElement, viewer)
    parentElement.append(viewer.root)
  }
  viewer.look(data.blur, data.grey)
  return () => document.removeEventListener("keydown", viewers.get(parentElement)?.listener)
}
