// The picture or player of a file with its boxes, as far as the browser can show it; else a copy or frames that the API makes.
const BEFORE_S = 1 // seconds: a click starts playback this long before the detection
const NEAR_S = 0.6 // seconds: a box is shown this long before and after its frame
const USUAL_FRAME_S = 0.04 // until the film was seen to play
const LONGEST_FRAME_S = 0.2 // what lies further apart are no neighbours

function clock(seconds) {
  const [hours, minutes, rest] = [seconds / 3600, seconds / 60 % 60, seconds % 60].map(Math.floor)
  return `${hours ? `${hours}:${String(minutes).padStart(2, "0")}` : minutes}:${String(rest).padStart(2, "0")}`
}

class Stage {
  constructor(data, ticked) {
    this.data = data
    this.ticked = ticked // is called when the time changes
    this.root = make("div", `stage ${data.kind}`)
    this.fit = make("div", "fit")
    this.controls = make("div", "controls")
    this.told = make("p", "told")
    this.told.setAttribute("role", "status")
    this.overlay = make("div", "overlay")
    this.boxes = data.boxes.map(box => this.box(box))
    this.reveal = new Reveal(this.root)
    this.root.append(this.fit)
    const { kind, source } = data
    if (kind === "image" && source) this.showPicture(source, () => this.showCopyOfPicture())
    else if ((kind === "video" || kind === "audio") && source) this.showPlayer()
    else this.showThumbnail("")
    this.layOut()
    if (kind !== "audio") this.addZoom()
    // only of an original: a viewer has none, and an upload is stored nowhere
    if (data.asset && (kind === "image" || kind === "video")) this.region = new Region(this)
  }

  // fill the width of the column, up to 66% of the window's height; of a film less, so that its lanes are in sight
  layOut() {
    const { ratio, kind } = this.data
    if (!ratio || kind === "audio") return
    this.fit.classList.add("sized")
    Object.assign(this.fit.style, { aspectRatio: ratio, width: `min(100%, calc(${this.moves ? 50 : 66}vh * ${ratio}))` })
    this.overlay.classList.toggle("few", this.moves || this.boxes.length <= 8)
    if (!this.moves) this.overlay.append(...this.boxes.filter(box => box.info.time === null))
    this.fit.append(this.reveal.veil, this.overlay)
  }

  get moves() {
    return this.data.kind === "video" && Boolean(this.data.source)
  }

  addZoom() {
    this.zoom = this.player ? undefined : new Zoom(this.root, this.fit, [this.overlay, this.reveal.veil])
    if (!this.zoom) return
    this.controls.append(this.zoom.root)
    const image = this.fit.querySelector("img")
    image?.addEventListener("load", () => this.zoom.apply())
    this.zoom.apply()
  }

  box(box) {
    const drawn = make("div", `box${box.top < 8 ? " under" : ""}`)
    Object.assign(drawn.style, { left: `${box.left}%`, top: `${box.top}%`, width: `${box.width}%`,
      height: `${box.height}%`, borderColor: box.color })
    drawn.append(make("span", "", box.text))
    drawn.title = box.text
    drawn.info = box
    return drawn
  }

  put(...shown) {
    this.fit.replaceChildren(...shown, this.reveal.veil, ...(this.overlay.parentNode === this.fit ? [this.overlay] : []))
  }

  showPicture(source, failed) {
    const image = make("img")
    image.alt = this.data.name
    image.draggable = false
    image.onerror = failed
    if (this.data.poster) image.style.background = `center / 100% 100% url("${this.data.poster}")` // until it is there
    image.onload = () => { image.style.background = ""; this.zoom?.apply() }
    image.src = source
    this.put(image)
  }

  showCopyOfPicture() {
    if (!this.data.asset) return this.showThumbnail(_("This browser cannot show this image format."))
    this.tell(_("This browser cannot show this image format: this is a copy, at most 4096 pixels wide or high."))
    this.showPicture(`/api/playable/${this.data.asset}`, () =>
      this.showThumbnail(_("This browser cannot show this image format, and no copy of it could be made.")))
  }

  showThumbnail(why) { // why: in place of the original; empty: there is none to show
    const { poster, name } = this.data
    this.root.classList.remove(this.data.kind)
    if (poster) {
      const image = make("img")
      image.alt = name
      image.src = poster
      this.put(image)
    } else {
      this.root.replaceChildren()
      this.reveal.eye.remove() // nothing to reveal
      this.reveal.lens.remove()
      this.region?.start.remove()
    }
    if (why) this.tell(poster ? `${why} ${_("This is its thumbnail.")}` : why)
    else this.tell(poster ? "" : _("There is no picture to show."))
  }

  showPlayer() {
    const { kind, source, poster, name, start, play } = this.data
    this.player = make(kind)
    // a hit in what is said is opened to hear it
    Object.assign(this.player, { controls: true, preload: "metadata", muted: kind === "video" && this.data.muted && !play })
    this.player.setAttribute("aria-label", name)
    if (poster) this.player.poster = poster
    // a browser that lacks the codec of the pictures plays the sound alone
    this.player.onloadedmetadata = () => {
      if (kind === "video" && !this.player.videoWidth && !this.copy) return this.playCopy()
      if (start !== null) this.seek(start, play)
      this.tick()
    }
    this.player.onerror = () => this.copy ? this.showFrames(_("this browser cannot play the copy.")) : this.playCopy()
    this.player.ontimeupdate = () => this.tick()
    // the arrows seek in a player that has the focus; they do not also go to another file
    this.player.onkeydown = event => { if (event.key.startsWith("Arrow")) event.stopPropagation() }
    this.player.src = source
    if (kind === "audio") this.root.replaceChildren(this.player)
    else this.put(this.player)
    this.watchFrames()
    this.addControls()
  }

  playCopy() {
    const { asset, seconds, start } = this.data
    if (!asset) return this.showFrames("")
    if (!globalThis.MediaSource) return this.showFrames(_("this browser plays no copies."))
    this.tell(_("This browser cannot play this file: you see a copy of lower quality, which is made while you watch."))
    const from = Math.max(0, (start ?? 0) - BEFORE_S)
    this.copy = new Copy(this.player, asset, seconds, from, reason => this.showFrames(reason))
  }

  showFrames(reason) {
    const { kind, asset, start } = this.data
    this.end()
    this.player = undefined
    if (kind === "audio") {
      this.root.replaceChildren()
      this.tell(reason ? _("This browser cannot play this recording, and no copy can be made: {reason}", { reason })
        : _("This browser cannot play this recording."))
    } else if (!asset) this.showThumbnail(_("This browser cannot play this film."))
    else {
      const why = reason ? _("This browser cannot play this film, and no copy can be made: {reason}", { reason })
        : _("This browser cannot play this film.")
      this.tell(`${why} ${_("Here are single frames: click in a lane, a line or the table.")}`)
      this.still = new Stills(this, start)
      this.addZoom()
    }
  }

  addControls() {
    const { kind, start, moments } = this.data
    const add = (text, title, act) => this.controls.append(Object.assign(button("", text, act), { title }))
    if (start !== null) add(_("▶ From {time}", { time: clock(Math.max(0, start - BEFORE_S)) }), _("Play from a second before the hit"), () => this.seek(start))
    if (kind === "video") {
      add(_("‹ Frame"), _("One frame back: ,"), () => this.step(-1))
      add(_("Frame ›"), _("One frame on: ."), () => this.step(1))
    }
    if (moments.length) {
      add(_("‹ Moment"), _("To what is new before: ["), () => this.toMoment(false))
      add(_("Moment ›"), _("To what is new next: ]"), () => this.toMoment(true))
    }
    this.exact = make("output", "exact")
    this.controls.append(this.exact)
  }

  tell(message) {
    this.told.textContent = message
  }

  get time() {
    return this.still?.time ?? this.player?.currentTime ?? 0
  }

  seek(time, play = true) {
    if (this.still) return this.still.show(time)
    if (!this.player) return
    this.player.currentTime = Math.max(0, time - BEFORE_S)
    if (play) this.player.play().catch(() => {}) // browsers may block playback before the first click
    this.tick()
  }

  toggle() {
    if (this.player?.paused) this.player.play().catch(() => {})
    else this.player?.pause()
  }

  toggleSound() {
    if (this.player) this.player.muted = !this.player.muted
  }

  watchFrames() {
    if (!this.player.requestVideoFrameCallback) return
    const seen = (now, { mediaTime }) => {
      const apart = Math.abs(mediaTime - (this.shown ?? mediaTime))
      if (apart > 0.004 && apart < LONGEST_FRAME_S) this.frame = Math.min(this.frame ?? apart, apart)
      this.shown = mediaTime
      this.tick()
      this.player?.requestVideoFrameCallback(seen)
    }
    this.player.requestVideoFrameCallback(seen)
  }

  step(by) {
    if (this.still) return this.still.show(this.still.time + by)
    if (!this.player || this.data.kind !== "video" || this.player.seeking) return
    this.player.pause()
    // into the middle of the frame, so that rounding does not lead to the one before
    const to = this.frame && this.shown !== undefined
      ? this.shown + (by + 0.5) * this.frame
      : this.player.currentTime + by * USUAL_FRAME_S
    this.player.currentTime = Math.max(0, to)
    this.tick()
  }

  tick() {
    const { time } = this
    if (this.exact) this.exact.textContent = clock(time) + number(Math.floor(time % 1 * 1000) / 1000, 3).slice(1)
    if (this.moves) {
      this.overlay.replaceChildren(...this.boxes.filter(box => box.info.time !== null && Math.abs(box.info.time - time) < NEAR_S))
    }
    this.ticked(time)
  }

  paint(shows) {
    for (const box of this.boxes) box.style.display = shows(box.info.detector, box.info.score) ? "" : "none"
  }

  // when the viewer is replaced: nothing goes on playing or loading
  end() {
    this.reveal.end()
    this.copy?.stop()
    if (!this.player) return
    this.player.onerror = null
    this.player.pause()
    this.player.removeAttribute("src")
    this.player.load()
  }
}
