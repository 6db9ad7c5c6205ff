// One camera for the page: opened when first wanted, shared, and let go by whoever closes it last.

const CAMERA_SIDE = 320; // px of the shorter side that is sent: more than any network here looks at
const CAMERA_QUALITY = 0.9;

function makeCamera() {
  let [stream, opening] = [null, null];
  let generation = 0; // raised by every close(): what was asked for before it is let go when it comes
  const canvas = document.createElement("canvas");

  // The stream, or null when it was closed while the browser still asked the visitor.
  async function open() {
    if (!navigator.mediaDevices?.getUserMedia) throw new Error("camera_insecure");
    if (stream?.getVideoTracks().some((track) => track.readyState === "live")) return stream;
    opening ??= ask(generation);
    return opening;
  }

  async function ask(mine) {
    try {
      const wanted = { video: { width: { ideal: 640 }, height: { ideal: 480 } }, audio: false };
      const opened = await navigator.mediaDevices.getUserMedia(wanted);
      if (mine === generation) stream = opened;
      else letGo(opened);
      return mine === generation ? opened : null;
    } catch (problem) {
      if (mine !== generation) return null;
      const known = { NotAllowedError: "camera_refused", NotReadableError: "camera_busy" };
      throw new Error(known[problem.name] || "camera_none");
    } finally {
      if (mine === generation) opening = null;
    }
  }

  // True once the picture moves, false when close() came first. Throws an Error whose message is a key of the words.
  async function showIn(video) {
    const mine = generation;
    const opened = await open();
    if (mine !== generation) return false;
    if (video.srcObject !== opened) video.srcObject = opened;
    try {
      await video.play();
    } catch (problem) {
      if (mine === generation) throw problem;
    }
    return mine === generation;
  }

  function letGo(opened) {
    opened?.getTracks().forEach((track) => track.stop());
  }

  function close() {
    generation += 1;
    letGo(stream);
    [stream, opening] = [null, null];
  }

  // The picture of this moment as JPEG in base64, "" while there is none.
  function grab(video) {
    const [width, height] = [video.videoWidth, video.videoHeight];
    if (!width || !height) return "";
    const scale = Math.min(1, CAMERA_SIDE / Math.min(width, height));
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    return canvas.toDataURL("image/jpeg", CAMERA_QUALITY).split(",")[1] || "";
  }

  return { showIn, close, grab };
}
