// The prop `moved` is "70@flowers" once the visitor has moved that model's threshold; in [0, 1], or null.
function ownThreshold(moved, model) {
  const [number, ...whose] = String(moved || "").split("@");
  return number && whose.join("@") === model ? Number(number) / 100 : null;
}
