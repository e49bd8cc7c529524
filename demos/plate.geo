// SPDX-License-Identifier: MIT
// A plate of 2 x 1 with five holes, triangles smaller around them: gmsh -2 plate.geo
SetFactory("OpenCASCADE");
Rectangle(1) = {0, 0, 0, 2, 1};
Disk(2) = {0.45, 0.62, 0, 0.18};
Disk(3) = {0.95, 0.30, 0, 0.14};
Disk(4) = {1.10, 0.76, 0, 0.10};
Disk(5) = {1.50, 0.50, 0, 0.22};
Disk(6) = {0.55, 0.22, 0, 0.06};
BooleanDifference(7) = { Surface{1}; Delete; }{ Surface{2:6}; Delete; };
holes[] = Curve In BoundingBox{ 0.01, 0.01, -1, 1.99, 0.99, 1 };
Field[1] = Distance;
Field[1].CurvesList = { holes[] };
Field[1].Sampling = 200;
Field[2] = Threshold;
Field[2].InField = 1;
Field[2].SizeMin = 0.022;
Field[2].SizeMax = 0.055;
Field[2].DistMin = 0.01;
Field[2].DistMax = 0.15;
Background Field = 2;
Mesh.MeshSizeExtendFromBoundary = 0;
Mesh.MeshSizeFromPoints = 0;
Mesh.MeshSizeFromCurvature = 0;
