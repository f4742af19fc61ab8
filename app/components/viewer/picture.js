// Zooming into a picture and moving in it, down to its pixels.
const STEP = 1.4
const MOST = 16 // screen pixels for one of the picture
const SQUARES = 3 // screen pixels for one of the picture, from which on pixels are drawn as squares

class Zoom {
  constructor(stage, fit, layers) { // layers: what lies over the picture
    Object.assign(this, { stage, fit, layers, scale: 1, x: 0, y: 0, fingers: new Map() })
    this.told = make("output")
    this.root = make("div", "zoom")
    this.root.setAttribute("role", "group")
    this.root.setAttribute("aria-label", _("Zoom"))
    const add = (text, title, act) => this.root.append(Object.assign(button("", text, act), { title }))
    add("−", _("Smaller: -"), () => this.by(1 / STEP))
    add("+", _("Larger: +"), () => this.by(STEP))
    add(_("Fit"), _("The whole picture: z"), () => this.reset())
    add("1:1", _("One pixel of the picture for one of the screen: z"), () => this.toPixels())
    this.root.append(this.told)
    stage.classList.add("zooms")
    stage.addEventListener("wheel", event => {
      if (!event.ctrlKey) return // the page scrolls; touchpads send two fingers as Ctrl and the wheel
      event.preventDefault()
      this.by(Math.exp(-event.deltaY / 200), event)
    }, { passive: false })
    stage.addEventListener("dblclick", event => this.scale > 1 ? this.reset() : this.toPixels(event))
    stage.addEventListener("pointerdown", event => this.down(event))
    stage.addEventListener("pointermove", event => this.move(event))
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, event => this.fingers.delete(event.pointerId))
    new ResizeObserver(() => this.apply()).observe(stage)
  }

  get image() {
    return this.fit.querySelector("img")
  }

  ratio() { // screen pixels of one of the picture, before zooming
    return this.image?.naturalWidth ? this.fit.offsetWidth / this.image.naturalWidth : 1
  }

  by(factor, at) {
    const before = this.scale
    this.scale = Math.min(Math.max(1, MOST / this.ratio()), Math.max(1, before * factor))
    const box = this.stage.getBoundingClientRect()
    const [x, y] = [(at?.clientX ?? box.left + box.width / 2) - box.left - this.fit.offsetLeft,
      (at?.clientY ?? box.top + box.height / 2) - box.top - this.fit.offsetTop]
    this.x = x - (x - this.x) * this.scale / before
    this.y = y - (y - this.y) * this.scale / before
    this.apply()
  }

  toPixels(at) {
    this.by(Math.max(1, 1 / this.ratio()) / this.scale, at)
  }

  toggle() {
    if (this.scale > 1) this.reset()
    else this.toPixels()
  }

  reset() {
    Object.assign(this, { scale: 1, x: 0, y: 0 })
    this.apply()
  }

  down(event) {
    if (event.button || event.target.closest("button, a, video")) return
    this.fingers.set(event.pointerId, event)
    if (this.scale > 1 || this.fingers.size > 1) {
      this.stage.setPointerCapture(event.pointerId)
      event.preventDefault()
    }
  }

  move(event) {
    const before = this.fingers.get(event.pointerId)
    if (!before) return
    this.fingers.set(event.pointerId, event)
    const other = [...this.fingers.values()].find(finger => finger.pointerId !== event.pointerId)
    if (other) {
      const apart = finger => Math.hypot(finger.clientX - other.clientX, finger.clientY - other.clientY) || 1
      this.by(apart(event) / apart(before),
        { clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2 })
    } else if (this.scale > 1) {
      this.x += event.clientX - before.clientX
      this.y += event.clientY - before.clientY
      this.apply()
    }
  }

  apply() {
    const { offsetWidth: width, offsetHeight: height, offsetLeft: left, offsetTop: top } = this.fit
    const { clientWidth, clientHeight } = this.stage
    // what is larger than the stage covers it, what is smaller stays in the middle
    const within = (at, own, place, whole) => {
      if (own * this.scale <= whole) return (whole - own * this.scale) / 2 - place
      return Math.min(-place, Math.max(whole - own * this.scale - place, at))
    }
    this.x = this.scale === 1 ? 0 : within(this.x, width, left, clientWidth)
    this.y = this.scale === 1 ? 0 : within(this.y, height, top, clientHeight)
    const zooms = this.scale > 1
    if (this.image) this.image.style.transform = zooms ? `translate(${this.x}px, ${this.y}px) scale(${this.scale})` : ""
    // boxes are placed anew, so that their lines and labels keep their size
    for (const { style } of this.layers) Object.assign(style, zooms
      ? { inset: `${this.y}px auto auto ${this.x}px`, width: `${width * this.scale}px`, height: `${height * this.scale}px` }
      : { inset: "", width: "", height: "" })
    const share = this.ratio() * this.scale
    this.stage.classList.toggle("zoomed", zooms)
    this.stage.classList.toggle("squares", share >= SQUARES)
    this.told.textContent = this.image?.naturalWidth ? `${number(Math.round(share * 100))} %` : ""
  }
}
