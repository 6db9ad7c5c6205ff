// One camera for the page: opened when first wanted, shared, and let go by whoever closes it last.

const CAMERA_SIDE = 320; // px of the shorter side that is sent: more than any network here looks at
const CAMERA_QUALITY = 0.9;

function makeCamera() {
  let [stream, opening] = [null, null];
  const canvas = document.createElement("canvas");

  // Throws an Error whose message is a key of the words.
  async function open() {
    if (!navigator.mediaDevices?.getUserMedia) throw new Error("camera_insecure");
    if (stream?.getVideoTracks().some((track) => track.readyState === "live")) return stream;
    opening ??= navigator.mediaDevices
      .getUserMedia({ video: { width: { ideal: 640 }, height: { ideal: 480 } }, audio: false })
      .finally(() => {
        opening = null;
      });
    try {
      stream = await opening;
    } catch (problem) {
      const known = { NotAllowedError: "camera_refused", NotReadableError: "camera_busy" };
      throw new Error(known[problem.name] || "camera_none");
    }
    return stream;
  }

  async function showIn(video) {
    const opened = await open();
    if (video.srcObject !== opened) video.srcObject = opened;
    await video.play();
  }

  function close() {
    stream?.getTracks().forEach((track) => track.stop());
    stream = null;
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
