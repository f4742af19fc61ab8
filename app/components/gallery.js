// Tiles of files. Text from files is set as textContent, never as HTML.
function shown(item, place, source) {
  const image = make("img")
  image.alt = ""
  image.decoding = "async"
  image.loading = place < 20 ? "eager" : "lazy"
  image.onerror = () => {
    const sign = make("span", "icon")
    sign.append(icon(item.kind))
    image.replaceWith(sign)
  }
  image.src = source
  return image
}

function frame(item, place) {
  const frame = make("span", "frame")
  if (item.more) {
    const several = make("span", "several")
    for (const source of [item.picture, ...item.more]) {
      const part = make("span", "part")
      part.append(shown(item, place, source))
      several.append(part)
    }
    frame.append(several)
  } else if (item.picture) {
    // keep the aspect ratio, so that boxes in percent align with the picture
    const fit = make("span", "fit")
    const wide = item.ratio ? item.ratio / (4 / 3) : 1
    fit.style.width = `${Math.min(1, wide) * 100}%`
    fit.style.height = `${Math.min(1, 1 / wide) * 100}%`
    const image = make("img")
    image.alt = item.name
    image.decoding = "async"
    image.loading = place < 20 ? "eager" : "lazy"
    image.src = item.picture
    fit.append(image)
    if (item.ratio) for (const box of item.boxes) {
      const drawn = make("span", "box")
      Object.assign(drawn.style, { left: `${box.left}%`, top: `${box.top}%`, width: `${box.width}%`,
        height: `${box.height}%`, borderColor: box.color })
      fit.append(drawn)
    }
    frame.append(fit)
  } else {
    const sign = make("span", "icon")
    sign.append(icon(item.kind))
    frame.append(sign)
  }
  if (item.cross) frame.append(make("span", "cross", item.cross))
  else if (item.length) frame.append(make("span", "length", item.length))
  return frame
}

function chip(label) {
  const chip = make("span", "chip")
  const dot = make("i")
  dot.style.background = label.color
  chip.append(dot, document.createTextNode(label.text), make("b", "", label.score))
  return chip
}

function tile(item, place) {
  const tile = make("li", "tile")
  tile.dataset.id = item.id
  const open = make("a", "open")
  open.href = item.href
  open.title = item.name
  const words = make("span", "words")
  words.append(make("span", "name", item.name))
  const chips = make("span", "chips")
  chips.append(...item.chips.map(chip))
  words.append(chips)
  if (item.failed) {
    const failed = make("span", "failed", item.failed)
    failed.title = item.failed // four lines of it are shown
    words.append(failed)
  }
  if (item.note) words.append(make("span", "note", item.note))
  open.append(frame(item, place), words)
  tile.append(open)
  if (item.like) {
    const like = make("a", "like")
    like.href = item.like
    like.title = _("More like this (m)")
    like.setAttribute("aria-label", _("More like {name}", { name: item.name }))
    like.tabIndex = -1 // m, on the tile that has the focus
    like.append(icon("alike"))
    tile.append(like)
  }
  if (item.picture) {
    const eye = make("button", "eye")
    eye.type = "button"
    eye.setAttribute("aria-label", _("Reveal {name}", { name: item.name }))
    eye.setAttribute("aria-pressed", "false")
    eye.append(icon("eye"))
    tile.append(eye)
  }
  return tile
}

function addPick(tile, name) {
  const label = make("label", "pick")
  const box = make("input")
  box.type = "checkbox"
  box.tabIndex = -1 // x selects the tile that has the focus
  box.setAttribute("aria-label", _("Select {name}", { name }))
  label.append(box)
  tile.append(label)
}

const PICKED_AFTER_MS = 250 // clicks in a row are sent together

// Selection: `list.pending` holds what was clicked and is not in `data.picked` yet, id -> whether it is selected.
function pick(list, from, to, on, send) {
  const tiles = [...list.children]
  const [first, last] = from < 0 ? [to, to] : [Math.min(from, to), Math.max(from, to)]
  for (const tile of tiles.slice(first, last + 1)) {
    list.pending[tile.dataset.id] = on
    showPick(tile, on)
  }
  list.last = to
  clearTimeout(list.timer)
  list.timer = setTimeout(() => send({ ...list.pending }), PICKED_AFTER_MS)
}

function showPick(tile, on) {
  tile.classList.toggle("picked", on)
  tile.querySelector(".pick input").checked = on
}

function reveal(tile) {
  const shown = tile.classList.toggle("shown")
  tile.querySelector(".eye")?.setAttribute("aria-pressed", String(shown))
}

export default function (component) {
  const { data, parentElement, setTriggerValue } = component
  let list = parentElement.querySelector(".tiles")
  if (!list) {
    list = make("ul", "tiles")
    list.pending = {}
    list.last = -1
    parentElement.append(list)
  }
  const hidden = list.dataset.hidden
  list.dataset.hidden = `${data.blur} ${data.colours}`
  const size = { small: "smaller", medium: "", large: "larger" }[data.thumbnails]
  const colours = data.colours === "colour" ? "" : data.colours
  list.className = ["tiles", ...["blur", "strip", "small"].filter(name => data[name]), colours, size].filter(Boolean).join(" ")
  list.setAttribute("aria-label", data.label)
  const key = JSON.stringify(data.items)
  if (list.dataset.key !== key) {
    list.dataset.key = key
    list.replaceChildren(...data.items.map(tile))
    list.last = -1
    if (data.picked) [...list.children].forEach((tile, place) => addPick(tile, data.items[place].name))
    if (data.focus) list.querySelector(`[data-id="${data.focus}"] .open`)?.focus()
  } else if (hidden !== list.dataset.hidden) {
    // a change of blur or colours hides revealed pictures again
    list.querySelectorAll(".shown").forEach(reveal)
  }

  if (data.picked) for (const tile of list.children) {
    const id = tile.dataset.id
    const picked = data.picked.includes(id)
    if (list.pending[id] === picked) delete list.pending[id]
    showPick(tile, list.pending[id] ?? picked)
  }
  const send = changes => setTriggerValue("pick", changes)
  list.onclick = event => {
    const at = event.target.closest(".tile")
    if (!at) return
    if (event.target.matches(".pick input")) {
      const from = event.shiftKey ? list.last : -1
      return pick(list, from, [...list.children].indexOf(at), event.target.checked, send)
    }
    if (event.target.closest(".pick")) return
    if (event.target.closest(".eye")) return reveal(at)
    if (event.target.closest(".like")) return follow(event, at.querySelector(".like").href)
    if (event.target.closest(".open")) follow(event, at.querySelector(".open").href)
  }
  list.onkeydown = event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return
    const tiles = [...list.children]
    const place = tiles.indexOf(event.target.closest(".tile"))
    if (place < 0) return
    const columns = data.strip ? 1 : getComputedStyle(list).gridTemplateColumns.split(" ").length
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key]
    if (step !== undefined) {
      event.preventDefault()
      tiles[Math.max(0, Math.min(tiles.length - 1, place + step))].querySelector(".open").focus()
    } else if (event.key === "b") reveal(tiles[place])
    else if (event.key === "m" && tiles[place].querySelector(".like")) follow(event, tiles[place].querySelector(".like").href)
    else if (event.key.toLowerCase() === "x" && data.picked) { // with Shift: all from the last one on
      pick(list, event.shiftKey ? list.last : -1, place, !tiles[place].classList.contains("picked"), send)
    }
  }
}
