// The edited picture: strokes over the photo, then turned, blurred, lightened; everything at the photo's own size.
// Blur and light are computed here and not by canvas filters, which Safari lacks: all browsers send the same pixels.

const NEUTRAL = "rgb(124, 116, 104)"; // the mean colour of photos, about zero for the network
const BLUR_PASSES = 3; // box filters in a row come close to a Gaussian

function blankCanvas(width, height) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  return canvas;
}

function pen(canvas) {
  return canvas.getContext("2d", { willReadFrequently: true });
}

function copyOf(canvas) {
  const copy = blankCanvas(canvas.width, canvas.height);
  pen(copy).drawImage(canvas, 0, 0);
  return copy;
}

function makeEdits(image) {
  const [width, height] = [image.naturalWidth, image.naturalHeight];
  const photo = blankCanvas(width, height);
  pen(photo).drawImage(image, 0, 0);
  const smeared = copyOf(photo);
  changePixels(smeared, { blur: Math.max(3, 0.06 * Math.min(width, height)), light: 0 });
  const cover = { grey: blankCanvas(width, height), smear: blankCanvas(width, height) };
  let strokes = [];

  // A later stroke wins: what it does not paint itself it takes away.
  function trace(stroke, from) {
    for (const [brush, layer] of Object.entries(cover)) {
      const context = pen(layer);
      context.globalCompositeOperation = stroke.brush === brush ? "source-over" : "destination-out";
      Object.assign(context, { strokeStyle: NEUTRAL, lineWidth: stroke.size, lineCap: "round", lineJoin: "round" });
      const [first, ...rest] = stroke.points.slice(from);
      context.beginPath();
      context.moveTo(...first);
      for (const point of rest.length ? rest : [[first[0] + 0.01, first[1]]]) context.lineTo(...point);
      context.stroke();
    }
  }

  function clear() {
    for (const layer of Object.values(cover)) pen(layer).clearRect(0, 0, width, height);
  }

  function painted() {
    const result = copyOf(photo);
    if (!strokes.length) return result;
    const part = copyOf(cover.smear);
    const context = pen(part);
    context.globalCompositeOperation = "source-in";
    context.drawImage(smeared, 0, 0);
    pen(result).drawImage(part, 0, 0);
    pen(result).drawImage(cover.grey, 0, 0);
    return result;
  }

  return {
    width,
    height,
    photo: () => copyOf(photo),
    strokes: () => strokes.length,
    begin(brush, size, point) {
      strokes.push({ brush, size, points: [point] });
      trace(strokes[strokes.length - 1], 0);
    },
    extend(point) {
      const stroke = strokes[strokes.length - 1];
      stroke.points.push(point);
      trace(stroke, stroke.points.length - 2);
    },
    undo() {
      strokes.pop();
      clear();
      for (const stroke of strokes) trace(stroke, 0);
    },
    forget() {
      strokes = [];
      clear();
    },
    result({ turn, blur, light }) {
      const canvas = turn ? turned(painted(), turn) : painted();
      if (blur || light) changePixels(canvas, { blur, light });
      return canvas;
    },
  };
}

// Turned clockwise about its middle; the corners that come free are neutral.
function turned(canvas, degrees) {
  const result = blankCanvas(canvas.width, canvas.height);
  const context = pen(result);
  context.fillStyle = NEUTRAL;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.translate(canvas.width / 2, canvas.height / 2);
  context.rotate((degrees * Math.PI) / 180);
  context.drawImage(canvas, -canvas.width / 2, -canvas.height / 2);
  return result;
}

// Where a point of the turned picture lies on the photo.
function turnedBack([x, y], degrees, width, height) {
  const [angle, across, down] = [(-degrees * Math.PI) / 180, x - width / 2, y - height / 2];
  const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
  return [width / 2 + across * cosine - down * sine, height / 2 + across * sine + down * cosine];
}

// blur: standard deviation in px; light: in stops, so 1 is twice as bright.
function changePixels(canvas, { blur, light }) {
  const context = pen(canvas);
  const picture = context.getImageData(0, 0, canvas.width, canvas.height);
  if (blur) blurPixels(picture, blur);
  if (light) {
    const table = Uint8ClampedArray.from({ length: 256 }, (_, value) => value * 2 ** light);
    for (let at = 0; at < picture.data.length; at += 4) {
      for (let color = at; color < at + 3; color += 1) picture.data[color] = table[picture.data[color]];
    }
  }
  context.putImageData(picture, 0, 0);
}

function blurPixels(picture, deviation) {
  const { width, height, data } = picture;
  let [from, to] = [data, new Uint8ClampedArray(data.length)];
  for (const radius of boxRadii(deviation)) {
    slide(from, to, width, height, radius); // each writes its rows as columns, so two make a whole pass
    slide(to, from, height, width, radius);
  }
}

// Radii of box filters whose variances add up to the Gaussian's: a box of radius r has r (r + 1) / 3.
function boxRadii(deviation) {
  const wanted = (3 * deviation ** 2) / BLUR_PASSES;
  const small = Math.floor((Math.sqrt(1 + 4 * wanted) - 1) / 2);
  const share = (wanted - small * (small + 1)) / (2 * (small + 1));
  const larger = Math.round(BLUR_PASSES * share);
  return Array.from({ length: BLUR_PASSES }, (_, pass) => small + (pass < larger ? 1 : 0));
}

function slide(from, to, width, height, radius) {
  const [last, span] = [width - 1, 2 * radius + 1];
  for (let y = 0; y < height; y += 1) {
    const row = 4 * y * width;
    for (let color = 0; color < 3; color += 1) {
      const at = (x) => from[row + 4 * Math.min(last, Math.max(0, x)) + color];
      let sum = 0;
      for (let x = -radius; x <= radius; x += 1) sum += at(x);
      for (let x = 0; x < width; x += 1) {
        to[4 * (x * height + y) + color] = sum / span;
        sum += at(x + radius + 1) - at(x - radius);
      }
    }
    for (let x = 0; x < width; x += 1) to[4 * (x * height + y) + 3] = 255;
  }
}

// The picture as a file: PNG, or JPEG where compression is asked for.
function encoded(canvas, quality) {
  const [kind, share] = quality < 100 ? ["image/jpeg", quality / 100] : ["image/png", undefined];
  return new Promise((done, failed) => {
    canvas.toBlob((file) => (file ? done(file) : failed(new Error("no file"))), kind, share);
  });
}
