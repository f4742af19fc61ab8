// What of a file is blurred and without colour, and the ways to reveal it: all of it, while something is held, through a lens.
const HELD_AFTER_MS = 300 // a shorter press is a click, or the begin of a drag
const MOVED_PX = 8

class Reveal {
  constructor(root) { // root: of the stage
    this.root = root
    this.veil = make("div", "veil")
    this.eye = button("", _("Reveal"), event => { if (!event.detail || !this.wasHeld) this.toggle() }) // detail 0: a key
    this.eye.title = _("All of it: b; while it is held: h")
    this.lens = button("", _("Reveal a part"), () => this.toggleLens())
    this.lens.title = _("Only round the pointer: l")
    this.lens.setAttribute("aria-pressed", "false")
    const end = event => this.release(event)
    for (const held of [root, this.eye]) {
      held.addEventListener("pointerdown", event => this.press(event))
      held.addEventListener("pointermove", event => this.drag(event))
      for (const name of ["pointerup", "pointercancel", "pointerleave"]) held.addEventListener(name, end)
      held.addEventListener("contextmenu", event => { if (this.isHeld) event.preventDefault() }) // a long touch
    }
    root.addEventListener("pointermove", event => this.move(event))
    root.addEventListener("pointerdown", event => this.move(event))
    root.addEventListener("pointerleave", () => this.veil.style.removeProperty("--x"))
    this.blurred = () => this.hold(false) // the window, which then sees no key go up
    addEventListener("blur", this.blurred)
  }

  // what is hidden before something is revealed; a change hides what was revealed
  look({ blur, colours }) {
    const hidden = `${blur} ${colours}`
    if (this.hidden !== undefined && this.hidden !== hidden) this.hideAll()
    this.hidden = hidden
    for (const [name, on] of [["blur", blur], ["grey", colours === "grey"], ["sepia", colours === "sepia"]]) this.root.classList.toggle(name, on)
    const hides = blur || colours !== "colour"
    this.eye.style.display = hides ? "" : "none"
    // without this filter of the browser a lens would show everything
    this.lens.style.display = hides && CSS.supports("backdrop-filter", "blur(1px)") ? "" : "none"
  }

  hideAll() {
    this.toggle(false)
    this.hold(false)
    this.toggleLens(false)
  }

  toggle(shown = !this.root.classList.contains("shown")) {
    this.root.classList.toggle("shown", shown)
    this.eye.textContent = shown ? _("Hide") : _("Reveal")
    this.eye.setAttribute("aria-pressed", String(shown))
  }

  hold(isHeld) {
    this.isHeld = isHeld
    this.root.classList.toggle("peek", isHeld)
  }

  toggleLens(on = !this.root.classList.contains("lens")) {
    if (on && this.lens.style.display === "none") return
    this.root.classList.toggle("lens", on)
    this.lens.setAttribute("aria-pressed", String(on))
  }

  press(event) {
    this.wasHeld = false
    if (event.button || event.target.closest("video")) return // a film's own controls
    this.at = [event.clientX, event.clientY]
    clearTimeout(this.timer)
    this.timer = setTimeout(() => { this.wasHeld = true; this.hold(true) }, HELD_AFTER_MS)
  }

  drag(event) {
    const [x, y] = this.at ?? [event.clientX, event.clientY]
    if (Math.hypot(event.clientX - x, event.clientY - y) > MOVED_PX) clearTimeout(this.timer)
  }

  release() {
    clearTimeout(this.timer)
    if (this.wasHeld) this.hold(false)
  }

  move(event) {
    const box = this.veil.getBoundingClientRect()
    this.veil.style.setProperty("--x", `${event.clientX - box.left}px`)
    this.veil.style.setProperty("--y", `${event.clientY - box.top}px`)
  }

  end() {
    clearTimeout(this.timer)
    removeEventListener("blur", this.blurred)
  }
}
