; A made-up detector: two stacked modules of 6 rows and 8 columns, one of them turned by 30
; degrees, and the upper one read out as two panels.
photon_energy = 9.3 keV
adu_per_eV = 0.001
clen = 120 mm
coffset = 0.002
res = 10000 ; pixels a metre
data = /entry/data/data

dim0 = %
dim1 = 0
dim2 = ss
dim3 = fs

rigid_group_upper = left,right
rigid_group_lower = turned
rigid_group_collection_all = upper,lower

left/min_fs = 0
left/max_fs = 3
left/min_ss = 0
left/max_ss = 5
left/corner_x = -10
left/corner_y = 2
left/fs = x
left/ss = +1.0y

right/min_fs = 4
right/max_fs = 7
right/min_ss = 0
right/max_ss = 5
right/corner_x = 10.25
right/corner_y = 2.7
right/fs = -1.0x + 0.0y
right/ss = +0.0x +1.0y -0.01z
right/max_adu = 14000

turned/dim1 = 1
turned/min_fs = 0
turned/max_fs = 7
turned/min_ss = 0
turned/max_ss = 5
turned/corner_x = -3.3
turned/corner_y = -9.1
turned/fs = +0.8660254x +0.5y
turned/ss = -0.5x +0.8660254y

badcorner/min_x = -10
badcorner/max_x = -8.9
badcorner/min_y = 2
badcorner/max_y = 3.9

badpixels/panel = turned
badpixels/min_fs = 2
badpixels/max_fs = 3
badpixels/min_ss = 4
badpixels/max_ss = 4
