// A copy of a recording that the browser can play: the API makes its parts while they are watched, and stores none.
const AHEAD_S = 20 // seconds that are fetched before they are played
const KEPT_S = 60 // seconds behind the current time that stay in memory

class Copy {
  constructor(player, asset, seconds, start, failed) {
    Object.assign(this, { player, asset, seconds, failed })
    this.media = new MediaSource()
    this.from = start // until the player knows its time
    this.media.addEventListener("sourceopen", () => {
      if (seconds) this.media.duration = seconds
      this.pump()
    }, { once: true })
    this.listen = { timeupdate: () => this.pump(), seeking: () => this.seeking() }
    for (const [name, act] of Object.entries(this.listen)) player.addEventListener(name, act)
    this.url = URL.createObjectURL(this.media)
    player.src = this.url
  }

  // until when the player has everything from its time on; undefined: it has nothing there
  get edge() {
    const { buffered } = this.player
    for (let n = 0; n < buffered.length; n++) {
      if (buffered.start(n) - 0.3 <= this.time && this.time <= buffered.end(n) + 0.1) return buffered.end(n)
    }
    return undefined
  }

  get time() {
    return this.player.readyState ? this.player.currentTime : this.from
  }

  seeking() {
    if (this.edge === undefined) this.fetching?.abort()
    this.pump()
  }

  async pump() {
    if (this.fetching || this.ended) return
    const from = this.edge ?? this.time
    if (from >= (this.last || this.seconds || Infinity) - 0.1) return this.end(from)
    if (from - this.time > AHEAD_S) return
    const fetching = this.fetching = new AbortController()
    try {
      const answer = await fetch(`/api/playable/${this.asset}?from_s=${from.toFixed(3)}`, { signal: fetching.signal })
      if (answer.status === 416) return this.end(from)
      if (!answer.ok) throw new Error(await answer.text())
      this.open(answer.headers.get("content-type"), from)
      const reader = answer.body.getReader()
      for (let read = await reader.read(); !read.done; read = await reader.read()) await this.append(read.value)
    } catch (error) {
      if (error.name === "AbortError") this.buffer?.abort() // the next part begins with a header of its own
      else if (!this.ended) return this.failed(error.message)
    } finally {
      this.fetching = undefined
    }
    this.pump()
  }

  open(type, from) {
    if (!MediaSource.isTypeSupported(type)) throw new Error(_("this browser plays no copies."))
    this.buffer ??= this.media.addSourceBuffer(type)
    this.buffer.timestampOffset = from
  }

  async append(bytes) {
    const old = this.time - KEPT_S
    if (this.buffer.buffered.length && this.buffer.buffered.start(0) < old - KEPT_S) await this.done(() => this.buffer.remove(0, old))
    await this.done(() => this.buffer.appendBuffer(bytes))
  }

  done(act) {
    return new Promise((resolve, reject) => {
      this.buffer.addEventListener("updateend", resolve, { once: true })
      this.buffer.addEventListener("error", () => reject(new Error(_("this browser cannot play the copy."))), { once: true })
      act()
    })
  }

  end(at) {
    this.last = at
    if (this.media.readyState === "open" && !this.buffer?.updating) this.media.endOfStream()
  }

  stop() {
    this.ended = true
    this.fetching?.abort()
    for (const [name, act] of Object.entries(this.listen)) this.player.removeEventListener(name, act)
    URL.revokeObjectURL(this.url)
  }
}

// Single frames of a film that cannot be played.
class Stills {
  constructor(stage, start) {
    this.stage = stage
    this.image = make("img")
    this.image.alt = stage.data.name
    this.image.draggable = false
    if (stage.data.poster) this.image.src = stage.data.poster
    this.image.onerror = () => stage.tell(_("This browser cannot play this film, and no frame of it could be made here."))
    this.image.onload = () => stage.zoom?.apply()
    stage.put(this.image)
    this.time = 0
    if (start) this.show(start)
  }

  show(time) {
    const last = this.stage.data.seconds || Infinity
    this.time = Math.min(last, Math.max(0, time))
    this.image.src = `/api/frame/${this.stage.data.asset}?at_s=${this.time.toFixed(3)}`
    this.stage.tick()
  }
}
