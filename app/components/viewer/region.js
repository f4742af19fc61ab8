// Drawing a rectangle over a picture, or over the frame of a paused film, to search for what it shows.
const LEAST_SHARE = 0.005 // of a side of the picture: a click is no rectangle

class Region {
  constructor(stage) {
    this.stage = stage
    this.start = button("", _("Search this region"), () => this.toggle())
    this.start.title = _("Draw a rectangle in the picture: s")
    this.start.setAttribute("aria-pressed", "false")
    this.told = make("output")
    this.sheet = make("div", "sheet")
    this.drawn = make("div", "drawn")
    this.sheet.append(this.drawn)
    this.sheet.addEventListener("pointerdown", event => this.down(event))
    this.sheet.addEventListener("pointermove", event => this.move(event))
    this.sheet.addEventListener("pointerup", event => this.up(event))
    this.sheet.addEventListener("pointercancel", () => this.close())
    stage.controls.append(this.start, this.told)
  }

  get isOpen() {
    return this.sheet.isConnected
  }

  toggle() {
    if (this.isOpen) return this.close()
    this.stage.player?.pause()
    this.drawn.hidden = true
    this.from = undefined
    this.stage.root.append(this.sheet)
    this.start.setAttribute("aria-pressed", "true")
    this.told.textContent = _("Draw a rectangle in the picture; Esc: leave it.")
  }

  close() {
    this.sheet.remove()
    this.start.setAttribute("aria-pressed", "false")
    this.told.textContent = ""
  }

  // the place of a pointer as fractions of the picture, which may be zoomed
  place(event) {
    const picture = this.stage.fit.querySelector("img, video").getBoundingClientRect()
    const within = share => Math.min(1, Math.max(0, share))
    return [within((event.clientX - picture.left) / picture.width), within((event.clientY - picture.top) / picture.height)]
  }

  down(event) {
    if (event.button) return
    event.preventDefault()
    event.stopPropagation() // a zoomed picture would be moved
    this.sheet.setPointerCapture(event.pointerId)
    this.from = this.place(event)
    this.at = [event.clientX, event.clientY]
  }

  move(event) {
    if (!this.from) return
    const sheet = this.sheet.getBoundingClientRect()
    const [x, y] = this.at
    Object.assign(this.drawn.style, { left: `${Math.min(x, event.clientX) - sheet.left}px`,
      top: `${Math.min(y, event.clientY) - sheet.top}px`, width: `${Math.abs(event.clientX - x)}px`,
      height: `${Math.abs(event.clientY - y)}px` })
    this.drawn.hidden = false
  }

  up(event) {
    if (!this.from) return
    const [[x, y], [toX, toY]] = [this.from, this.place(event)]
    this.from = undefined
    const box = [Math.min(x, toX), Math.min(y, toY), Math.max(x, toX), Math.max(y, toY)]
    if (box[2] - box[0] < LEAST_SHARE || box[3] - box[1] < LEAST_SHARE) return
    this.close()
    follow(event, this.address(box))
  }

  address(box) {
    const { asset, kind } = this.stage.data
    const chosen = new URLSearchParams(location.search).get("case")
    const asked = { ...(chosen ? { case: chosen } : {}), asset, box: box.map(side => Number(side.toFixed(5))).join(",") }
    if (kind === "video") asked.at_s = this.stage.time.toFixed(3)
    return `/search?${new URLSearchParams(asked)}`
  }
}
